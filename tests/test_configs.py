"""Every pretraining config is parsed, its model built, its pipeline run."""
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image

from mmdino.engine.configs import read_config
from mmdino.registry import DATASETS, HOOKS, MODELS

ROOT = Path(__file__).parents[1] / 'configs'
# The others are tested beside what they configure.
CONFIGS = sorted(
    p for p in ROOT.rglob('*.py')
    if not {'_base_', 'ablations', 'benchmarks', 'transfer'}
    & {*p.relative_to(ROOT).parts})
TEACHERS = {'TeacherEMAHook', 'TeacherCopyHook'}

# facts of the published recipes: K, views, lr, images a GPU, epochs
RECIPES = {
    'dino_vit-s16': (65536, 10, 5e-4, 64, 100),
    'dino_vit-s16_300e': (65536, 10, 5e-4, 64, 300),
    'dino_vit-s16_800e': (65536, 12, 5e-4, 64, 800),
    'dino_vit-s8': (65536, 12, 5e-4, 16, 800),
    'dino_vit-b16': (65536, 12, 7.5e-4, 32, 400),
    'dino_vit-b8': (65536, 12, 5e-4, 6, 300),
    'dino_vit-s16_no-multi-crop': (65536, 2, 5e-4, 64, 100),
    'dino_resnet50': (60000, 10, .3, 51, 800),
    'dino_resnet50_100e': (65536, 10, .03, 64, 100),
    'dino_xcit-s12-p16': (65536, 12, 5e-4, 64, 800),
    'dino_xcit-s12-p8': (65536, 12, 5e-4, 16, 800),
    'dino_xcit-m24-p16': (65536, 12, 5e-4, 32, 800),
    'dino_xcit-m24-p8': (65536, 12, 5e-4, 8, 800),
}


@pytest.fixture(autouse=True)
def mmdino_scope():
    DefaultScope.get_instance('test', scope_name='mmdino')


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """Four images in two classes, in the splits of ImageNet."""
    root = tmp_path_factory.mktemp('images')
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for split in ('train', 'val'):
        for name in ('a/0', 'a/1', 'b/0', 'b/1'):
            path = root / split / f'{name}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root


def redirect(node, root):
    """Point every data set of a config to the images."""
    if isinstance(node, dict):
        if node.get('type') == 'Images':
            node.update(data_root=str(root))
            subset = node.get('subset', '')
            node.subset = subset and ('val' if 'test' in subset else 'train')
        for child in node.values():
            redirect(child, root)


@pytest.mark.parametrize(
    'path', CONFIGS, ids=lambda p: '/'.join(p.relative_to(ROOT).parts))
def test_builds(path, images):
    cfg = read_config(str(path))
    redirect(cfg._cfg_dict, images)
    cfg.model.head.update(out_dim=8, hidden_channels=8)  # saves memory
    # Not every backbone can be built without memory.
    with torch.device('meta' if 'ablations' in path.parts else 'cpu'):
        model = MODELS.build(cfg.model)
    first = [*model.head.mlp, model.head.last_layer][0]
    assert model.head.in_channels == first.in_features
    assert cfg.default_hooks.teacher.type in TEACHERS
    for hook in [*cfg.default_hooks.values(), *cfg.get('custom_hooks', [])]:
        assert HOOKS.build(hook)
    item = DATASETS.build(cfg.train_dataloader.dataset)[0]
    views = sum(v.num_views
                for v in cfg.train_dataloader.dataset.pipeline.views.values())
    assert len(item['inputs']) == views
    patch = getattr(model.backbone, 'patch_size', 1)
    assert all(side % patch == 0 for v in item['inputs']
               for side in v.shape[1:])
    for loader in (cfg.val_dataloader, cfg.val_cfg.gallery_dataloader):
        sample = DATASETS.build(loader.dataset)[0]
        assert sample['inputs'].ndim == 3
        assert sample['data_samples'].gt_label is not None


@pytest.mark.parametrize('name', RECIPES)
def test_recipe(name):
    cfg = Config.fromfile(ROOT / f'{name}.py')
    prototypes, views, lr, batch, epochs = RECIPES[name]
    assert cfg.model.head.out_dim == prototypes
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert sum(v.num_views for v in pipeline.views.values()) == views
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.train_cfg.max_epochs == epochs
    assert cfg.auto_scale_lr == dict(enable=True, base_batch_size=256)


def test_the_details_of_the_released_recipes():
    s16 = Config.fromfile(ROOT / 'dino_vit-s16_800e.py')
    assert s16.optim_wrapper.clip_grad is None
    assert s16.param_scheduler.end_lr == 1e-5
    assert not s16.model.head.norm_last_layer
    b16 = Config.fromfile(ROOT / 'dino_vit-b16.py')
    assert b16.optim_wrapper.clip_grad == dict(max_norm=.3)
    assert b16.param_scheduler.end_lr == 2e-6
    assert b16.default_hooks.freeze_last_layer.num_epochs == 3
    assert b16.default_hooks.centering.warmup_epochs == 50
    assert b16.model.head.norm_last_layer
    r50 = Config.fromfile(ROOT / 'dino_resnet50.py')
    assert r50.param_scheduler.end_weight_decay is None
    assert r50.optim_wrapper.optimizer == dict(
        type='LARS', lr=.3, weight_decay=1e-6)


def test_every_recipe_is_checked():
    names = {p.stem for p in ROOT.glob('*.py')}
    assert {n for n in names if 'cifar' not in n} == set(RECIPES)


def test_published_figures_are_called_published():
    for path in ROOT.glob('*.py'):
        text = path.read_text()
        if re.search(r'k-NN \d', text):
            assert 'Published: k-NN' in text, path
