"""Both sides of each benchmark compute the same; each runs with --quick."""
import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.tools.test_train_and_test import in_process

FOLDER = Path(__file__).parents[2] / 'tools/benchmarks'
CROPS = 2 * [32] + 2 * [16]


@pytest.fixture
def benchmark(monkeypatch):
    """Import a benchmark as it finds its neighbours when run as a script."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in [p.stem for p in FOLDER.glob('*.py')]:
        sys.modules.pop(name, None)


def test_multi_crop(benchmark, tmp_path):
    module = benchmark('multi_crop')
    module.draw_photos(tmp_path, 2)
    dataset = module.our_dataset(str(tmp_path))
    plain = module.batch_straightforward(dataset, seed=3)
    ours = module.normalise(module.batch_ours(dataset, seed=3))
    assert [v.shape[2] for v in ours] == 2 * [224] + 8 * [96]
    for a, b in zip(plain, ours, strict=True):
        # in levels of 255: a standard deviation is about 58 of them
        assert 58 * (a - b).abs().mean() < 2


def test_loss(benchmark):
    module = benchmark('loss')
    student, teacher = module.make_logits(images=3, prototypes=32)
    student = student.detach().double().requires_grad_()
    inputs = student, teacher.double(), torch.full((1, 32), .1).double()
    plain, ours = module.straightforward(*inputs), module.ours(*inputs)
    torch.testing.assert_close(plain, ours, rtol=0, atol=1e-12)


def test_ema(benchmark):
    module = benchmark('ema')
    plain, ours = (module.lagging_model(64) for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    before = [p.clone() for p in plain.teacher.parameters()]
    module.straightforward(plain)
    module.ours(ours)
    after = list(plain.teacher.parameters())
    assert not before[0].equal(after[0])
    torch.testing.assert_close(after, list(ours.teacher.parameters()))


def test_knn(benchmark):
    module = benchmark('knn')
    features = module.make_features(queries=50, gallery=2000)
    plain, ours = (
        side(**features) for side in (module.straightforward, module.ours))
    assert set(plain) == set(ours) == {10, 20, 100, 200}
    for k in plain:
        assert plain[k].equal(ours[k])


def test_train_step(benchmark, float64, monkeypatch):
    """Two steps: losses, then student and teacher, and the centre."""
    module = benchmark('train_step')
    model = module.make_model('tiny')
    crops = module.make_crops(3, CROPS)
    preprocess = type(model.data_preprocessor).forward

    def to_double(self, data, training=False):
        data = preprocess(self, data, training)
        return dict(data, inputs=[view.double() for view in data['inputs']])

    monkeypatch.setattr(type(model.data_preprocessor), 'forward', to_double)
    plain = module.Straightforward(model, crops)
    ours = module.Ours(model, crops)
    losses = [(plain(), ours()) for _ in range(2)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(*zip(*losses), rtol=1e-9)
    close = dict(rtol=0, atol=1e-6)
    torch.testing.assert_close(plain.center, model.centering.center, **close)
    for a, b in ((plain.student, (model.backbone, model.head)),
                 (plain.teacher, model.teacher.values())):
        b = [p for part in b for p in part.parameters()]
        torch.testing.assert_close(list(a.parameters()), b, **close)


def test_checkpointed_blocks_give_the_same_loss(benchmark):
    module = benchmark('train_step')
    crops = module.make_crops(2, CROPS)
    losses = [
        module.Ours(model, crops)()
        for model in (module.make_model('tiny'),
                      module.checkpoint_blocks(module.make_model('tiny')))
    ]
    assert losses[0] == losses[1]


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_gpu_is_refused_without_one(benchmark):
    with pytest.raises(SystemExit, match='gpu.py needs an NVIDIA GPU'):
        in_process('benchmarks/gpu', '--quick')


@pytest.mark.parametrize(
    'name', ['multi_crop', 'loss', 'ema', 'knn', 'train_step', 'startup'])
def test_quick_run_ends_with_a_json_line(benchmark, capfd, name):
    in_process(f'benchmarks/{name}', '--quick', '--rounds', 1)
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert result['benchmark'] == name
    assert result['ratio'] > 0 and result['torch'] == torch.__version__
