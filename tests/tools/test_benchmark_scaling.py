"""tools/benchmarks/scaling.py: its arithmetic and its loaders."""
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / 'tools' / 'benchmarks'


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import scaling
    return scaling


def test_needs_by_hand(scaling):
    row = scaling.needs(
        gpus=4,
        gpu_images=100.,
        batch=50,
        core_images=25.,
        file_bytes=1e5,
        gradient=1e8,
        state=8e8,
        feature_bytes=400,
        crop_bytes=5e5)
    assert row == pytest.approx(
        dict(
            images_per_s=400,
            batch=200,
            loader_cores_per_gpu=4,
            read_mb_per_s=40,
            crops_mb_per_s_per_gpu=50,
            # 2 steps/s, each sends 2 x 3/4 of the gradient
            network_gb_per_s_per_gpu=.3,
            state_gb_per_gpu=.8,
            sharded_state_gb_per_gpu=.2,
            gallery_mb_per_gpu=1281167 * 400 / 4 / 1e6))


def test_images_of_a_core(scaling):
    """Workers beyond the cores only wait for one another."""
    rates = {0: 170., 1: 150., 2: 260., 4: 280.}
    assert scaling.images_of_a_core(rates, cores=2) == 130.
    assert scaling.images_of_a_core({0: 170., 4: 280.}, cores=2) == 170.
    assert scaling.images_of_a_core({4: 280.}, cores=2) == 140.


def test_state_counts_moments_and_teacher(scaling):
    model = torch.nn.Module()
    model.student = torch.nn.Linear(10, 10, bias=False)
    model.teacher = torch.nn.Linear(10, 10, bias=False).requires_grad_(False)
    assert scaling.state_bytes(model) == dict(
        gradient=400, state=4 * (100 + 100 + 3 * 100))


def test_loaders_take_turns(scaling, tmp_path, capsys):
    scaling.draw_photos(tmp_path, 4)
    rates = scaling.loader_rates(
        scaling.our_dataset(str(tmp_path)), [0, 1],
        batch_size=2,
        repeats=2,
        rounds=1)
    assert set(rates) == {0, 1}
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[1] for row in rows[-2:]] == ['0/1', '1/1']
