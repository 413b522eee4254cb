"""The scripts that compare ways to start from trained weights."""
from pathlib import Path

import pytest

from mmdino.engine.configs import prepare, read_config

ROOT = Path(__file__).parents[2]


@pytest.fixture
def experiment(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools/experiments'))
    import start_from
    return start_from


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'tools/benchmarks'))
    import starting
    return starting


def test_trainings_see_the_other_patterns(experiment):
    first = prepare(experiment.pretraining(20, 1))
    seen = {*first.train_dataloader.dataset.classes}
    rows = experiment.trainings('published.pth')
    assert [*rows] == ['nothing', 'continued', 'adapted', 'half', 'distilled']
    for name, (_, settings) in rows.items():
        cfg = prepare(experiment.other_patterns(settings, 20))
        for loader in (cfg.train_dataloader, cfg.val_dataloader,
                       cfg.val_cfg.gallery_dataloader):
            assert not seen & {*loader.dataset.classes}
        starts = name in ('continued', 'adapted')
        assert (cfg.load_from == 'published.pth') == starts


def test_adapters_take_less(benchmark):
    rows = {
        name: [
            float(cell) for cell in benchmark.count(
                benchmark.shrink(
                    read_config(f'configs/{config.format("s")}.py')))
        ]
        for name, config in benchmark.CONFIGS.items()
    }
    for adapted, continued in zip(rows['adapted'], rows['continued']):
        assert adapted < continued
    assert all(cell > 0 for cell in rows['distilled'])
