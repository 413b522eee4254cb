"""A frozen network's features, into another architecture and grid."""
import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from mmdino.engine.configs import read_config
from mmdino.engine.launch import build_runner
from mmdino.models import FrozenTeacher, total_loss
from mmdino.models.distillation import resample
from mmdino.models.embedding import class_and_patches
from mmdino.registry import HOOKS, MODELS, build_module
from mmdino.weights import load_checkpoint, open_weights
from tests.resuming import (StopAfter, assert_same, end_of, random_cfg, train,
                            train_interruptibly)
from tests.tiny import MODEL, runner_cfg

CONFIGS = sorted(Path('configs/distil').glob('*.py'))
SMALL = dict(
    type='mmdino.VisionTransformer',
    arch=dict(
        embed_dims=12, num_layers=1, num_heads=2, feedforward_channels=24),
    img_size=32,
    patch_size=16)
CONV = dict(
    type='mmdino.SmallResNet', depth=10, stem_channels=8, base_channels=8)
POOLING = dict(type='mmpretrain.GlobalAveragePooling')


@pytest.fixture
def large(tmp_path):
    """A tiny network that stands for a large one, patches of 8 px."""
    cfg = runner_cfg(tmp_path / 'large', epochs=1)
    cfg.launcher = 'none'
    build_runner(cfg).train()
    return str(tmp_path / 'large/epoch_1.pth')


def distil_cfg(large, **changes):
    return dict(
        dict(
            type='mmdino.Distillation',
            data_preprocessor=MODEL['data_preprocessor'],
            backbone=SMALL,
            frozen=dict(type='FrozenTeacher', checkpoint=large)), **changes)


def run_cfg(tmp_path, large, **changes):
    cfg = runner_cfg(tmp_path / 'run')
    cfg.model = distil_cfg(large, **changes)
    for hook in ('centering', 'freeze_last_layer', 'collapse'):
        cfg.default_hooks.pop(hook)
    cfg.launcher = 'none'
    return cfg


def views(*sizes):
    return [torch.randn(3, 3, s, s) for s in sizes]


@pytest.mark.parametrize(
    'student', [
        dict(backbone=SMALL),
        dict(backbone=CONV, neck=POOLING),
    ],
    ids=['vit', 'resnet'])
def test_loss_is_the_formula(large, student):
    model = MODELS.build(distil_cfg(large, class_weight=2., **student))
    model.init_weights()
    model.eval()
    crops = views(32, 32, 16)
    out = model(crops, mode='loss')
    frozen = FrozenTeacher(large)
    expected = dict.fromkeys(('loss_cls', 'loss_local', 'loss_patch'), 0.)
    local = model._student()['backbone'](crops[2])
    local = model.neck(local) if model.neck else local
    for crop in crops[:2]:
        with torch.no_grad():
            tokens, = frozen.tokens(crop)
        ours, maps = class_and_patches(model._student(), crop)
        for name, vectors in dict(loss_cls=ours, loss_local=local[-1]).items():
            vectors = model.class_projector(vectors)
            cosine = F.cosine_similarity(vectors, tokens[:, 0], dim=-1)
            expected[name] = expected[name] + 2 * (1 - cosine.mean()) / 2
        # 4 x 4 patches of 8 px; the students have 2 x 2.
        theirs = tokens[:, 1:].unflatten(1, (4, 4)).permute(0, 3, 1, 2)
        theirs = resample(theirs, maps.shape[-2:]).permute(0, 2, 3, 1)
        ours = model.patch_projector(maps.permute(0, 2, 3, 1))
        cosine = F.cosine_similarity(ours, theirs, dim=-1).mean()
        expected['loss_patch'] = expected['loss_patch'] + (1 - cosine) / 2
    assert out.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(out[name], value, msg=name)


def test_a_grid_of_other_patches():
    maps = torch.arange(16.).view(1, 1, 4, 4)
    assert resample(maps, (4, 4)) is maps
    flat = torch.full((1, 2, 5, 7), 3.)
    torch.testing.assert_close(
        resample(flat, (2, 3)), torch.full((1, 2, 2, 3), 3.))
    # Places stay: rows rise, columns rise less.
    small = resample(maps, (2, 2))[0, 0]
    assert (small[1] > small[0]).all() and (small[:, 1] > small[:, 0]).all()
    torch.testing.assert_close(small.mean(), maps.mean())


def test_it_trains_and_only_the_student_is_kept(tmp_path, large):
    runner = build_runner(run_cfg(tmp_path, large))
    model = runner.model
    before = copy.deepcopy(model.frozen.state_dict())
    runner.train()
    state = load_checkpoint(str(tmp_path / 'run/epoch_2.pth'))['state_dict']
    assert {key.split('.')[0]
            for key in state
            } == {'backbone', 'teacher', 'class_projector', 'patch_projector'}
    for key, value in model.frozen.state_dict().items():
        assert torch.equal(value, before[key]), key
    found = FrozenTeacher(str(tmp_path / 'run/epoch_2.pth'))
    assert found.backbone.embed_dims == 12
    for key, value in model.teacher.backbone.state_dict().items():
        assert torch.equal(found.backbone.state_dict()[key], value)
    assert open_weights(str(
        tmp_path / 'run/epoch_2.pth')).network['backbone']['patch_size'] == 16


def test_stopped_anywhere_it_ends_the_same(tmp_path, large):
    ends = []
    for name, stops in dict(whole=[], stopped=[2, 7]).items():
        cfg = random_cfg(tmp_path / name)
        cfg.model = distil_cfg(large)
        for hook in ('centering', 'freeze_last_layer', 'collapse'):
            cfg.default_hooks.pop(hook)
        for iteration in stops:
            with pytest.raises(SystemExit):
                train_interruptibly(cfg, StopAfter(iteration))
        train(cfg)
        ends.append(end_of(tmp_path / name))
    assert_same(*ends)


def test_crops_that_the_frozen_network_does_not_take(large):
    model = MODELS.build(distil_cfg(large, backbone=CONV, neck=POOLING))
    with pytest.raises(ValueError, match='global views of 30 x 30 px.*24 or'):
        model(views(30, 30), mode='loss')


def test_another_normalisation_is_undone(large):
    other = dict(MODEL['data_preprocessor'], mean=[100.] * 3, std=[50.] * 3)
    ours, theirs = (
        MODELS.build(distil_cfg(large, data_preprocessor=cfg))
        for cfg in (MODEL['data_preprocessor'], other))
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    found = []
    for model in (ours, theirs):
        batch = model.data_preprocessor(dict(inputs=[pixels]))
        found.append(model._targets(batch['inputs'][0])[0])
    torch.testing.assert_close(*found)
    with pytest.raises(ValueError, match='order of the channels'):
        MODELS.build(
            distil_cfg(large, data_preprocessor=dict(other, bgr_to_rgb=False)))


def test_networks_without_patches(large):
    timm = dict(type='mmdino.TimmBackbone', model_name='resnet10t')
    with pytest.raises(ValueError, match='model.patch_weight=0.'):
        MODELS.build(distil_cfg(large, backbone=timm))
    model = MODELS.build(distil_cfg(large, backbone=timm, patch_weight=0.))
    assert model(views(32, 32), mode='loss').keys() == {'loss_cls'}
    with pytest.raises(ValueError, match='class_weight=0'):
        MODELS.build(distil_cfg(large, class_weight=0., patch_weight=0.))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_configs(path, large):
    cfg = read_config(str(path))
    cfg.model.frozen.checkpoint = large
    cfg.model.data_preprocessor.update(MODEL['data_preprocessor'])
    model = build_module(cfg.model)
    model.init_weights()
    views = cfg.train_dataloader.dataset.pipeline.views
    sizes = [v.crop.size for v in views.values() for _ in range(v.num_views)]
    losses = model([torch.randn(2, 3, s, s) for s in sizes], mode='loss')
    assert {'loss_cls', 'loss_patch'} <= losses.keys()
    total_loss(losses).backward()
    assert all(p.grad is not None for p in model.parameters()
               if p.requires_grad)
    for hook in cfg.default_hooks.values():
        assert HOOKS.build(hook)
    assert cfg.default_hooks.teacher.type == 'TeacherEMAHook'
