"""The k-NN and low-shot benchmarks: data, and the checkpoint's own size."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdino.engine.configs import read_config
from mmdino.engine.testing import fill_sizes, use_checkpoint
from mmdino.experiments.suite import with_data
from mmdino.registry import DATASETS, METRICS, MODELS
from tests.tiny import model_cfg
from tests.transfer.benchmarks import write_imagenet

ROOT = Path(__file__).parents[2] / 'configs/benchmarks'
TASKS = ('knn', 'low-shot-1', 'low-shot-10')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('imagenet')
    write_imagenet(root / 'imagenet', None)
    for fraction in ('0.01', '0.1'):
        (root / f'imagenet/low-shot_{fraction}_seed0.txt'
         ).write_text('n0/0.JPEG 0\nn1/1.JPEG 1\n')
    return root


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Of the tiny model, trained on 32 px."""
    path = tmp_path_factory.mktemp('checkpoint') / 'epoch_1.pth'
    cfg = Config(dict(model=model_cfg()))
    torch.save(
        dict(
            meta=dict(cfg=cfg.pretty_text),
            state_dict=MODELS.build(cfg.model).state_dict()), path)
    return str(path)


@pytest.mark.parametrize('task', TASKS)
def test_builds(task, data, checkpoint):
    DefaultScope.get_instance('test', scope_name='mmdino')
    cfg = with_data(read_config(f'{ROOT}/{task}.py'), data)
    use_checkpoint(cfg, checkpoint)
    fill_sizes(cfg)
    model = MODELS.build(cfg.model)
    assert model.backbone.patch_size == 8
    assert model.preprocessing['mean'] == [127.5] * 3
    gallery = DATASETS.build(cfg.test_cfg.gallery_dataloader.dataset)
    assert len(gallery) == (6 if task == 'knn' else 2)
    queries = DATASETS.build(cfg.test_dataloader.dataset)
    assert len(queries) == 6
    for dataset in (gallery, queries):
        item = dataset[len(dataset) - 1]
        assert item['inputs'].shape == (3, 32, 32)
        assert int(item['data_samples'].gt_label) == 1
    assert METRICS.build(cfg.test_evaluator)


def test_a_size_that_nothing_tells(data):
    DefaultScope.get_instance('test', scope_name='mmdino')
    cfg = with_data(read_config(f'{ROOT}/knn.py'), data)
    with pytest.raises(ValueError, match='size=None'):
        DATASETS.build(cfg.test_dataloader.dataset)
    with pytest.raises(ValueError, match='needs a checkpoint'):
        MODELS.build(cfg.model)
