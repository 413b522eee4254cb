"""The k-NN and low-shot configs: models, data and published figures."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from mmdino.experiments.suite_configs import with_data
from mmdino.registry import DATASETS, METRICS, MODELS
from tests.transfer.benchmarks import write_imagenet

ROOT = Path(__file__).parents[2] / 'configs/eval'
ARCHS = {
    'vit-s16': (384, 16),
    'vit-s8': (384, 8),
    'vit-b16': (768, 16),
    'vit-b8': (768, 8),
    'resnet50': (2048, None)
}
TASKS = ('knn', 'low-shot-1', 'low-shot-10')


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('imagenet')
    write_imagenet(root / 'imagenet', None)
    for fraction in ('0.01', '0.1'):
        (root / f'imagenet/low-shot_{fraction}_seed0.txt'
         ).write_text('n0/0.JPEG 0\nn1/1.JPEG 1\n')
    return root


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('arch', ARCHS)
def test_builds(task, arch, data):
    DefaultScope.get_instance('test', scope_name='mmdino')
    cfg = with_data(Config.fromfile(ROOT / f'{task}_{arch}.py'), data)
    cfg.model.head.update(out_dim=8, hidden_channels=8)  # saves memory
    width, patch = ARCHS[arch]
    # mmpretrain's ResNet reads values as it is built
    with torch.device('cpu' if arch == 'resnet50' else 'meta'):
        model = MODELS.build(cfg.model)
    assert model.head.in_channels == width
    assert getattr(model.backbone, 'patch_size', None) == patch
    gallery = DATASETS.build(cfg.test_cfg.gallery_dataloader.dataset)
    assert len(gallery) == (6 if task == 'knn' else 2)
    queries = DATASETS.build(cfg.test_dataloader.dataset)
    assert len(queries) == 6
    for dataset in (gallery, queries):
        item = dataset[len(dataset) - 1]
        assert item['inputs'].shape == (3, 224, 224)
        assert int(item['data_samples'].gt_label) == 1
    assert METRICS.build(cfg.test_evaluator)


def test_every_config_is_named_here():
    names = {p.stem for task in TASKS for p in ROOT.glob(f'{task}_*.py')}
    wanted = {f'{task}_{arch}' for task in TASKS for arch in ARCHS}
    assert names == wanted | {'knn_features'}


def test_figures_of_the_paper_are_called_published():
    for arch, figure in (('vit-s16', 74.5), ('vit-s8', 78.3),
                         ('vit-b16', 76.1), ('vit-b8', 77.4), ('resnet50',
                                                               67.5)):
        text = (ROOT / f'knn_{arch}.py').read_text()
        assert f'Published: {figure}' in text
