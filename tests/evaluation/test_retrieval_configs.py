"""The configs of retrieval and copy detection, built and run on tiny trees."""
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from mmdino.engine.configs import read_config
from mmdino.models.frozen import ClassAndGeMFeatures, MultiScaleFeatures
from mmdino.registry import DATASETS, METRICS, MODELS
from tests.datasets.benchmark_trees import make_copydays, make_revisited
from tests.tiny import model_cfg

ROOT = Path(__file__).parents[2] / 'configs/benchmarks'
NAMES = sorted(
    p.stem for pattern in ('retrieval-*.py', 'copydays.py')
    for p in ROOT.glob(pattern))
WRAPPER = dict(type='mmdino.Unwrapped')


@pytest.fixture(autouse=True)
def mmdino_scope():
    DefaultScope.get_instance('test', scope_name='mmdino')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('benchmarks')
    make_revisited(root / 'revisitop', 'roxford5k')
    make_revisited(root / 'revisitop', 'rparis6k')
    make_copydays(root)
    return root


def tiny(name, data, work_dir):
    """The config with the tiny model, on the tiny trees, of small images."""
    cfg = read_config(f'{ROOT}/{name}.py')
    for key in ('backbone', 'data_preprocessor'):
        cfg.model[key] = model_cfg()[key]
    for loader in cfg.test_dataloader, cfg.test_cfg.gallery_dataloader:
        assert loader.dataset.data_root.startswith('data/')
        loader.dataset.data_root = loader.dataset.data_root.replace(
            'data', str(data), 1)
        loader.num_workers = 0
        for step in loader.dataset.pipeline:
            if step.type == 'mmpretrain.Resize':
                step.scale = (32, 32)
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = str(work_dir).replace('/', '_')
    return cfg


@pytest.mark.parametrize('name', NAMES)
def test_builds(name, data):
    cfg = tiny(name, data, 'unused')
    rule = MODELS.build(cfg.model).feature_rule
    assert isinstance(
        rule,
        ClassAndGeMFeatures if name == 'copydays' else MultiScaleFeatures)
    assert METRICS.build(cfg.test_evaluator)
    for loader in cfg.test_dataloader, cfg.test_cfg.gallery_dataloader:
        assert DATASETS.build(loader.dataset)[0]['inputs'].ndim == 3


def test_sizes_and_scales():
    for name in NAMES:
        cfg = read_config(f'{ROOT}/{name}.py')
        sizes = {
            step.get('size', step.get('scale'))
            for loader in (cfg.test_dataloader,
                           cfg.test_cfg.gallery_dataloader)
            for step in loader.dataset.pipeline
            if step.type in ('Thumbnail', 'mmpretrain.Resize')
        }
        several = 'multi-scale' in name
        size = (320, 320) if 'copydays' in name else 512 if several else 224
        assert sizes == {size}, name
        scales = cfg.model.features.get('scales', (1, ))
        assert len(scales) == (3 if several else 1)
    cropped = read_config(f'{ROOT}/retrieval-roxford_cropped.py')
    steps = [s.type for s in cropped.test_dataloader.dataset.pipeline]
    assert steps[:3] == ['LoadImage', 'CropToBox', 'Thumbnail']


@pytest.mark.parametrize('name', NAMES)
def test_planted_duplicates_are_found(name, data, tmp_path):
    result = Runner.from_cfg(tiny(name, data, tmp_path)).test()
    scores = {k: v for k, v in result.items() if 'time' not in k}
    if 'copydays' in name:
        assert scores == {'copydays/map': 100.}
        log = next(tmp_path.glob('*/*.log')).read_text()
        assert 'learnt on 8 images' in log
    else:
        baselines = {
            key
            for key in scores if key.endswith(('_pixels', '_untrained'))
        }
        scores = {k: v for k, v in scores.items() if k not in baselines}
        assert len(scores) == 8 and len(baselines) == 16
        if 'cropped' in name:  # a crop is no duplicate
            assert all(0 <= v <= 100 for v in scores.values())
        else:
            assert set(scores.values()) == {100.}


def evaluate_rank(rank, folder, data):
    for name in ('retrieval-roxford_cropped', 'copydays'):
        cfg = tiny(name, data, folder / name)
        cfg.launcher, cfg.model_wrapper_cfg = 'pytorch', WRAPPER
        result = Runner.from_cfg(cfg).test()
        torch.save(result, f'{name}_{rank}.pth')


def test_two_processes_evaluate_alike(data, tmp_path, two_ranks):
    two_ranks(evaluate_rank, tmp_path, data)
    for name in ('retrieval-roxford_cropped', 'copydays'):
        cfg = tiny(name, data, tmp_path / 'one' / name)
        wanted = Runner.from_cfg(cfg).test()
        for rank in range(2):
            result = torch.load(tmp_path / f'{name}_{rank}.pth')
            for key in wanted:
                if 'time' not in key:
                    assert result[key] == pytest.approx(wanted[key]), key
