"""Every network that our configs train leaves the project and comes back.

The networks are the configs', with few blocks and narrow: what is special of
each, heads, stem, patch, neck and timm's model, is kept.
"""
import copy
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdino.apis.compare import BOUND, check_conversion
from mmdino.apis.export import FORMATS as EXPORTS
from mmdino.apis.export import export
from mmdino.models import FrozenTeacher
from mmdino.registry import build_module
from mmdino.weights import (FORMATS, CheckpointError, convert_file,
                            load_checkpoint, open_weights)
from mmdino.weights.config import _views
from mmdino.weights.infer import build_empty
from tests.tiny import model_cfg

ROOT = Path(__file__).parents[2]
CONFIGS = [
    path for pattern in ('dino_*.py', 'quickstart/*.py', 'continue/dino_*.py',
                         'ablations/_base_/*.py')
    for path in sorted((ROOT / 'configs').glob(pattern))
]
PLACES = dict(
    vit=('official', 'ibot', 'hf', 'timm', 'mmpretrain'),
    registers=('dinov2', 'hf', 'timm'),
    mask_token=('dinov2', 'ibot', 'official', 'hf', 'timm', 'mmpretrain'),
    swiglu=('dinov2', 'timm', 'mmpretrain'),
    xcit=('official', 'timm', 'mmpretrain'),
    resnet=('official', 'timm', 'torchvision', 'mmpretrain'),
    timm=('timm', 'mmpretrain'),
    other=('mmpretrain', ),
    ours=())
# Where a mask token is lost or comes in.
OTHER_MASKS = {('registers', 'timm'),
               ('swiglu', 'dinov2')} | {('mask_token', name)
                                        for name in PLACES['mask_token'][2:]}

# Other widths and patches of a network that another recipe has.
SIBLINGS = ('dino_vit-s8', 'dino_vit-b8', 'dino_vit-b16', 'dino_xcit-m24-p16',
            'dino_xcit-m24-p8', 'dino_xcit-s12-p8', 'dino_resnet10_images',
            'dino_vit-tiny_cifar10', 'dinov2_vit-tiny_cifar10', 'cifar10',
            'shapescenes')
# To trace takes seconds: one of a kind, some for images of any size.
DYNAMIC = ('dino_vit-tiny_shapescenes', 'dinov2', 'timm_convnet',
           'dino_resnet50')
GRAPHS = (*DYNAMIC, 'dino_vit-b8', 'dino_vit-t4_cifar10', 'dino_xcit-s12-p16',
          'four_channels', 'size', 'windows', 'timm_vit', 'mobilenet',
          'linear_neck')
SLOW_GRAPHS = ('dino_vit-b8', 'dino_vit-t4_cifar10', 'four_channels', 'size',
               'timm_vit', 'mobilenet', 'linear_neck')


def tiny(cfg):
    """The config with a smaller network of the same kind."""
    backbone = cfg.model.backbone
    if backbone.type == 'VisionTransformer':
        heads = build_empty(backbone).layers[0].attn.num_heads
        backbone.update(
            arch=dict(
                embed_dims=4 * heads,
                num_layers=2,
                num_heads=heads,
                feedforward_channels=8 * heads),
            img_size=4 * backbone.patch_size)
    elif backbone.type == 'TimmBackbone':
        backbone.update(depth=2, embed_dim=32, num_heads=4)
    elif backbone.type == 'SmallResNet':
        backbone.update(stem_channels=8, base_channels=8)
    else:
        backbone.depth = 18
    for view in _views(cfg.train_dataloader):
        view.crop.size = 64
    cfg.model.head.update(
        out_dim=32, hidden_channels=16, bottleneck_channels=8)
    return cfg


def own_configs():
    """By network: several configs train the same."""
    found = {}
    for path in CONFIGS:
        cfg = tiny(Config.fromfile(path))
        backbone = dict(cfg.model.backbone, drop_path_rate=0, init_cfg=None)
        key = json.dumps([backbone, cfg.model.get('neck')])
        found.setdefault(key, (path.stem, cfg))
    return dict(found.values())


def kind_of_config(cfg):
    backbone = cfg.model.backbone
    if backbone.get('stem'):
        return 'ours'
    return {
        'VisionTransformer': 'vit',
        'TimmBackbone': 'xcit',
        'SmallResNet': 'ours',
        'mmpretrain.ResNet': 'resnet'
    }[backbone.type]


def special_configs():
    """Networks that no recipe has."""

    def cfg(kind, backbone, **model):
        model = model_cfg(**model)
        whole = 'Transformer' not in backbone.get('type', 'Transformer')
        model['backbone'] = backbone if whole else dict(
            model['backbone'], **backbone)
        channels = backbone.get('in_channels', 3)
        numbers = dict(mean=[127.5] * channels, std=[64.] * channels)
        model['data_preprocessor'] = dict(
            type='MultiViewDataPreprocessor',
            bgr_to_rgb=channels == 3,
            **(numbers if channels < 4 else {}))
        view = dict(num_views=2, crop=dict(size=64))
        return kind, Config(
            dict(model=model, train_dataloader=dict(views=dict(a=view))))

    gap = dict(type='mmpretrain.GlobalAveragePooling')
    return dict(
        mlp_head=cfg(
            'vit', {},
            head=dict(type='MLPHead', out_dim=64, hidden_channels=32)),
        predictor=cfg(
            'vit', {},
            type='mmdino.DINO',
            predictor=dict(type='Predictor', hidden_channels=16)),
        one_channel=cfg('vit', dict(in_channels=1)),
        four_channels=cfg('vit', dict(in_channels=4)),
        size=cfg('vit', dict(pos_embed_mode='size')),
        antialias=cfg('vit', dict(pos_embed_mode='antialias')),
        no_bias=cfg('vit', dict(qkv_bias=False)),
        windows=cfg(
            'ours',
            dict(
                type='mmdino.WindowedVisionTransformer',
                window_size=2,
                global_blocks=(1, ))),
        dinov2=cfg(
            'registers',
            dict(
                num_registers=2,
                with_mask_token=True,
                layer_scale_init_value=1e-5,
                pos_embed_mode='antialias')),
        mask_token=cfg('mask_token', dict(with_mask_token=True)),
        swiglu=cfg('swiglu', dict(layer_cfgs=dict(ffn_type='swiglu_fused'))),
        offset_antialias=cfg('vit', dict(pos_embed_mode='offset-antialias')),
        timm_mask_token=cfg(
            'ours',
            dict(
                type='TimmBackbone',
                model_name='vit_tiny_patch16_224',
                depth=2,
                embed_dim=24,
                num_heads=3,
                img_size=32,
                with_mask_token=True)),
        relu=cfg('ours', dict(layer_cfgs=dict(act_cfg=dict(type='ReLU')))),
        timm_vit=cfg(
            'timm',
            dict(
                type='TimmBackbone',
                model_name='vit_tiny_patch16_224',
                depth=2,
                embed_dim=24,
                num_heads=3,
                img_size=32)),
        timm_convnet=cfg(
            'timm',
            dict(
                type='TimmBackbone',
                model_name='mobilenetv3_small_050',
                in_channels=1)),
        grey_resnet=cfg(
            'resnet',
            dict(type='mmpretrain.ResNet', depth=18, in_channels=1),
            neck=gap),
        dilated=cfg(
            'other',
            dict(
                type='mmpretrain.ResNet',
                depth=18,
                strides=(1, 2, 2, 1),
                dilations=(1, 1, 1, 2)),
            neck=gap),
        mobilenet=cfg(
            'other',
            dict(type='mmpretrain.MobileNetV2', widen_factor=.25),
            neck=gap),
        linear_neck=cfg(
            'neck',
            dict(type='mmpretrain.ResNet', depth=18),
            neck=dict(
                type='mmpretrain.LinearNeck',
                in_channels=512,
                out_channels=24,
                gap_dim=2)))


NETWORKS = {
    name: (kind_of_config(cfg), cfg)
    for name, cfg in own_configs().items()
}
NETWORKS.update(special_configs())


def each(names, slow):
    assert set(slow) <= set(names)
    return pytest.mark.parametrize('name', [
        pytest.param(name, marks=[pytest.mark.slow] if name in slow else [])
        for name in names
    ])


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Checkpoints as runs write them, each made once."""
    made, folder = {}, tmp_path_factory.mktemp('own')

    def make(name):
        if name not in made:
            torch.manual_seed(0)
            _, cfg = NETWORKS[name]
            model = build(cfg.model)
            _vary(model)
            path = str(folder / f'{name}.pth')
            torch.save(
                dict(
                    meta=dict(cfg=cfg.pretty_text),
                    state_dict=model.state_dict()), path)
            made[name] = path
        return made[name]

    return make


def build(cfg):
    if cfg.backbone.get('in_channels', 3) == 3:
        return build_module(cfg)
    # A DINO infers the head's width from images of three channels.
    parts = {
        key: build_module(cfg[key])
        for key in ('backbone', 'neck') if key in cfg
    }
    return torch.nn.ModuleDict(
        dict(parts, teacher=torch.nn.ModuleDict(copy.deepcopy(parts))))


@torch.no_grad()
def _vary(model):
    """Other than at the start: teacher and student differ, too."""
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.is_floating_point():
            tensor.mul_(1 + .1 * torch.randn_like(tensor)).add_(
                .01 * torch.rand_like(tensor))


@torch.no_grad()
def backbone_tensors(path):
    state = load_checkpoint(path)['state_dict']
    prefix = 'teacher.backbone.'
    return {
        key.removeprefix(prefix): value
        for key, value in state.items() if key.startswith(prefix)
    }


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(value, other[key]) for key, value in one.items())


@each(NETWORKS, SIBLINGS)
def test_converted_and_back(files, tmp_path, name):
    source, kind = files(name), NETWORKS[name][0]
    network = open_weights(source).network
    for format_ in PLACES.get(kind, ()):
        target = str(tmp_path / f'{format_}/model.safetensors')
        done = convert_file(source, target, None, format_, which='teacher')
        for found in check_conversion(done):
            assert found.largest < BOUND, found
        back = str(tmp_path / f'{format_}.pth')
        convert_file(target, back, None, 'mmdino')
        tensors = backbone_tensors(back), backbone_tensors(source)
        told = open_weights(back).network, copy.deepcopy(network)
        if (kind, format_) in OTHER_MASKS:
            assert sum('mask_token' in state for state in tensors) == 1
            for state, cfg in zip(tensors, told):
                state.pop('mask_token', None)
                cfg['backbone'].pop('with_mask_token', None)
        if (kind, format_) == ('registers', 'timm'):
            for state in tensors:
                state['cls_token'] += state['pos_embed'][:, :1]
                state['pos_embed'] = state['pos_embed'][:, 1:]
        assert same(*tensors)
        assert told[0] == told[1]
        # Another library's .pth gets no extra key.
        theirs = str(tmp_path / f'theirs_{format_}.pth')
        convert_file(source, theirs, None, format_, which='teacher')
        assert same(
            load_checkpoint(theirs),
            load_checkpoint(target)['state_dict'])
    for format_ in set(FORMATS) - {'mmdino'} - set(PLACES.get(kind, ())):
        with pytest.raises(CheckpointError, match=f'{format_}.* no place for'):
            convert_file(source, str(tmp_path / 'none.pth'), None, format_)
    assert not (tmp_path / 'none.pth').exists()


@each(NETWORKS, SIBLINGS)
def test_exported_and_opened_again(files, tmp_path, name):
    teacher = FrozenTeacher(files(name))
    out = str(tmp_path / 'a.safetensors')
    for checked in export(teacher, out, 'safetensors'):
        assert checked.largest == 0
    opened = FrozenTeacher(out)
    assert same(opened.state_dict(), teacher.state_dict())
    assert opened.network_cfg == teacher.network_cfg


@each(GRAPHS, SLOW_GRAPHS)
def test_graph(files, tmp_path, name):
    teacher = FrozenTeacher(files(name))
    out, size = str(tmp_path / 'a.pt2'), (64, 64)
    if name == 'windows':
        with pytest.raises(ValueError, match='any size or number .* --si'):
            list(export(teacher, out, 'torch-export'))
    if name in DYNAMIC:
        size = None
    list(export(teacher, out, 'torch-export', size=size, batch=2))
    assert EXPORTS['torch-export'][2](out).network == teacher.network_cfg
