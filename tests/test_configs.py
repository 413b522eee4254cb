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
    if not {'_base_', 'ablations', 'benchmarks', 'distil', 'transfer'}
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
    'ibot_vit-s16': (8192, 12, 5e-4, 64, 800),
    'ibot_vit-b16': (8192, 12, 7.5e-4, 32, 400),
}
DINOV2 = {
    'dinov2_vit-l16': (65536, 10, 4e-3, 64, 200),
    'dinov2_vit-l14_22k': (131072, 10, 2e-4, 32, 135),
    'dinov2_vit-b16': (65536, 10, 4e-3, 128, 100),
    'dinov2_vit-s16': (65536, 10, 4e-3, 128, 100),
    'dinov2_vit-l14_518px': (131072, 10, 2e-5, 32, 2),
    'dinov2_vit-s16_512px': (65536, 10, 4e-4, 32, 2),
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
    for head in ('head', 'patch_head'):  # saves memory
        if head in cfg.model:
            cfg.model[head].update(out_dim=8, hidden_channels=8)
    # ResNets and timm's networks cannot be built without memory.
    with torch.device('meta' if 'vit' in path.stem else 'cpu'):
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


@pytest.mark.parametrize('name', [*RECIPES, *DINOV2])
def test_recipe(name):
    cfg = Config.fromfile(ROOT / f'{name}.py')
    prototypes, views, lr, batch, epochs = {**RECIPES, **DINOV2}[name]
    assert cfg.model.head.out_dim == prototypes
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert sum(v.num_views for v in pipeline.views.values()) == views
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.train_cfg.max_epochs == epochs
    if name in DINOV2:
        assert not cfg.auto_scale_lr.enable
        assert cfg.default_hooks.scale_lr == dict(
            type='ScaleLRHook', base_batch_size=1024, rule='sqrt')
    else:
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


# GPUs; iterations of the warm-up, of the temperature's and of the last layers
@pytest.mark.parametrize('name,gpus,images,iterations', [
    ('dinov2_vit-l16', 32, 1281167, (12500, 37500, 1250)),
    ('dinov2_vit-l14_22k', 96, 14197122, (100000, 37500, 1250)),
    ('dinov2_vit-b16', 8, 1281167, (12510, 37530, 1251)),
    ('dinov2_vit-s16', 8, 1281167, (12510, 37530, 1251)),
])
def test_the_times_of_dinov2(name, gpus, images, iterations):
    cfg = Config.fromfile(ROOT / f'{name}.py')
    epoch = images // (gpus * cfg.train_dataloader.batch_size)
    hooks = cfg.default_hooks
    epochs = (cfg.param_scheduler.warmup_epochs, hooks.centering.warmup_epochs,
              hooks.freeze_last_layer.num_epochs)
    assert tuple(round(epoch * e) for e in epochs) == iterations
    total = 625000 if '22k' in name else 125000
    assert epoch * cfg.train_cfg.max_epochs == pytest.approx(total, rel=2e-3)
    assert not hooks.centering.by_epoch and hooks.freeze_last_layer.by_rate


@pytest.mark.parametrize('name,first,size',
                         [('dinov2_vit-l14_518px', 'dinov2_vit-l14_22k', 518),
                          ('dinov2_vit-s16_512px', 'dinov2_vit-s16', 512)])
def test_the_second_stage_of_dinov2(name, first, size):
    """The first one's schedules, in two epochs of some 10,000 iterations."""
    cfg, before = (Config.fromfile(ROOT / f'{n}.py') for n in (name, first))
    assert cfg.load_from.startswith(f'work_dirs/{first}/')
    assert cfg.load_from.endswith(f'epoch_{before.train_cfg.max_epochs}.pth')
    times = [(c.param_scheduler.warmup_epochs,
              c.default_hooks.centering.warmup_epochs,
              c.default_hooks.freeze_last_layer.num_epochs)
             for c in (cfg, before)]
    share = cfg.train_cfg.max_epochs / before.train_cfg.max_epochs
    assert times[0] == pytest.approx([t * share for t in times[1]], rel=5e-3)
    for hook in ('teacher', 'scale_lr'):
        assert cfg.default_hooks[hook] == before.default_hooks[hook]
    assert (cfg.default_hooks.centering.teacher_temp ==
            before.default_hooks.centering.teacher_temp)
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(
        .1 * before.optim_wrapper.optimizer.lr)
    assert cfg.model.backbone.img_size == size
    views = cfg.train_dataloader.dataset.pipeline.views
    assert [v.crop['size'] for v in views.values()] == [size, size, 224]
    for old, new in zip(
            before.train_dataloader.dataset.pipeline.views.values(),
            views.values()):
        assert old.crop.scale == new.crop.scale


def test_the_details_of_dinov2_and_ibot():
    short, long, ibot = (
        Config.fromfile(ROOT / f'{name}.py')
        for name in ('dinov2_vit-l16', 'dinov2_vit-l14_22k', 'ibot_vit-s16'))
    for cfg in (short, long):
        assert cfg.model.backbone.drop_path_uniform
        assert cfg.model.koleo_weight == .1
        assert not cfg.model.head.norm_last_layer
        assert cfg.optim_wrapper.clip_grad.max_norm == 3.
        assert cfg.param_scheduler.end_lr == 1e-6
    assert short.model.backbone.drop_path_rate == .3
    assert 'patch_head' not in short.model
    assert short.model.centering.type == 'MeanCentering'
    assert short.optim_wrapper.paramwise_cfg.layer_decay_rate == .9
    assert short.param_scheduler.end_weight_decay == .4
    assert short.default_hooks.teacher.momentum == .992
    assert long.model.backbone.drop_path_rate == .4
    assert long.model.head.bottleneck_channels == 384
    assert long.model.patch_head.bottleneck_channels == 256
    assert long.model.patch_head.out_dim == 131072
    for centering in (long.model.centering, long.model.patch_centering):
        assert centering == dict(type='SinkhornKnopp', num_iters=3)
    assert long.optim_wrapper.paramwise_cfg == dict(
        layer_decay_rate=1.,
        patch_embed_lr_mult=.2,
        bias_decay_mult=0.,
        flat_decay_mult=0.)
    assert long.param_scheduler.end_weight_decay == .2
    assert long.default_hooks.teacher.momentum == .994
    local = long.train_dataloader.dataset.pipeline.views.local
    assert local.crop.size == 98
    assert ibot.model.center_all_patches and 'koleo' not in ibot.model
    assert ibot.model.masking.stratified is False


def test_every_recipe_is_checked():
    names = {p.stem for p in ROOT.glob('*.py')}
    assert {n for n in names if 'cifar' not in n} == {*RECIPES, *DINOV2}


def test_published_figures_are_called_published():
    for path in ROOT.glob('*.py'):
        text = path.read_text()
        if re.search(r'k-NN \d', text):
            assert 'Published: k-NN' in text, path
