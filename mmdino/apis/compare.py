"""Comparison of mmdino's features with those of another library.

Both networks are filled with the same weights and see the same images. Ours
is a :class:`FrozenTeacher`, built from the config of the source file. Theirs
is the other library's implementation: transformers builds it from
``config.json``, the other libraries from the arguments of their constructors.
The networks of the authors of DINO, iBOT and DINOv2 are in no package: timm's
networks take their place, with position embeddings resized as the authors do.

B images, C channels, H x W pixels, D features.
"""
import math
import os.path as osp
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import timm
import torch
import torchvision
from timm.layers import SwiGLUPacked
from timm.models.vision_transformer import (VisionTransformer,
                                            checkpoint_filter_fn)
from torch import Tensor, nn

from mmdino.models import FrozenTeacher
from mmdino.models.backbones.position_embeddings import resize_pos_embed
from mmdino.registry import build_module
from mmdino.utils.resources import require
from mmdino.weights.config import preprocessor_cfg
from mmdino.weights.convert import Conversion, pos_embed_modes
from mmdino.weights.formats import dinov2, official, without
from mmdino.weights.formats.hf import CONFIG, FILE, vit_config
from mmdino.weights.formats.ours import backbone_of, is_linear
from mmdino.weights.formats.timm import classifier, to_timm
from mmdino.weights.infer import (LAYER_SCALE, SWIGLU, build_empty,
                                  dinov2_parts, input_channels, kind_of)
from mmdino.weights.io import load_checkpoint
from mmdino.weights.keys import StateDict, strip_prefix
from mmdino.weights.network import load_strictly

BOUND = 1e-5  # largest allowed Difference.largest, in float32
# Image side in pixels of the pretraining of networks that were later adapted
# to larger images.
PRETRAINING = 224
Features = Callable[[Tensor], Tensor]  # images (B, C, H, W) to (B, D)


class Difference(NamedTuple):
    """The difference of features from ours, for images of one size."""
    format: str  # the other library's format, a key of weights.FORMATS
    size: tuple[int, int]  # (H, W) of the images, in pixels
    largest: float  # largest difference / largest absolute value of ours


def check_conversion(done: Conversion) -> Iterator[Difference]:
    """Compare features of random images before and after a conversion.

    Two networks are compared with ours, in float32: that of the source format,
    filled from the source file, unless the source is mmdino's or already has
    the target format; then that of the target format, filled from the file
    that the conversion wrote. Our ViT resizes its position embeddings as the
    other network does.

    Yields:
        One difference for each image size of each network; the first size is
        that of the stored position embeddings.

    Raises:
        ValueError: If the file is a linear classifier, which holds no network.
    """
    ours = our_network(done)
    if done.source.format not in ('mmdino', done.target) and not is_linear(
            done.source.state):
        yield from differences(ours, done, done.source.format,
                               done.source.path)
    yield from differences(ours, done, done.target, done.path)


def differences(ours: FrozenTeacher, done: Conversion, format_: str,
                path: str) -> Iterator[Difference]:
    """Compare with the other library's implementation, filled from ``path``.

    Sets ``pos_embed_mode`` of our ViT to that of the other library.
    """
    network = network_of(done)
    theirs = their_network(done, format_, path)
    _, mode = pos_embed_modes(network, format_)
    if mode is not None:
        ours.backbone.pos_embed_mode = mode
    channels = input_channels(ours.backbone)
    generator = torch.Generator().manual_seed(0)
    for size in image_sizes(network, kind_of(network)[0]):
        images = torch.randn(2, channels, *size, generator=generator)
        with torch.no_grad():
            yield Difference(format_, size,
                             relative(ours.features(images), theirs(images)))


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference as a fraction of our largest value.

    Both are absolute values. The result is infinite if a value is NaN.
    """
    found = float((ours - theirs).abs().max() / ours.abs().max())
    return math.inf if math.isnan(found) else found


def network_of(done: Conversion) -> dict:
    """Return the config of the converted network.

    Raises:
        ValueError: If the file holds a linear classifier and no network.
    """
    if done.network is None:
        raise ValueError(f'{done.source.path} is a linear classifier: there '
                         'is no network to check.')
    return done.network


def our_network(done: Conversion) -> FrozenTeacher:
    """Build the source's network with the chosen tensors."""
    network = network_of(done)
    teacher = FrozenTeacher(
        backbone=network['backbone'],
        neck=network.get('neck'),
        data_preprocessor=preprocessor_cfg(network))
    for name, part in teacher.parts.items():
        load_strictly(part, done.source.part(name),
                      f'The {name} of {done.source.path}')
    return teacher


@torch.no_grad()
def their_network(done: Conversion, format_: str, path: str) -> Features:
    """Build a format's own network, filled from a file with its names."""
    if format_ == 'mmdino':
        return FrozenTeacher(path).features
    if format_ == 'hf':
        return hf_vit(network_of(done), path)
    network = network_of(done)
    kind = kind_of(network)[0]
    state = load_checkpoint(path)
    if format_ in LONE_BACKBONES:
        state = LONE_BACKBONES[format_](state, done.which)
    state = state.get('state_dict', state)
    if kind != 'timm':
        state = without(state, ('head.', 'fc.', 'fc_norm.'))
    return IMPLEMENTATIONS[kind, format_](state, network['backbone'])


def image_sizes(network: Mapping, kind: str) -> Iterator[tuple[int, int]]:
    """Yield the (H, W) to compare at: the stored, a smaller, a wide, a larger.

    Models that take one size only, and those of the kind 'other', of which
    this is unknown, are compared at the stored size alone.
    """
    backbone = network['backbone']
    side = network['preprocessing']['size']
    patch = 32
    if kind in ('vit', 'dinov2'):
        vit = build_empty(backbone)
        side, patch = vit.img_size[0], vit.patch_embed.projection.stride[0]
    elif kind == 'timm':
        model = build_empty(backbone)
        side, patch = model.img_size[0], getattr(model, 'patch_size', patch)
        if not getattr(model.model, 'dynamic_img_size', False):
            kind = 'other'
    yield side, side
    if kind == 'other':
        return
    smaller = PRETRAINING if side > PRETRAINING else side // 2
    smaller = max(smaller // patch, 1) * patch
    yield smaller, smaller
    yield max(side - patch, patch), side + patch
    yield side + 2 * patch, side + 2 * patch


def timm_vit(state: StateDict, cfg: dict) -> nn.Module:
    """Build timm's ViT with the sizes of the network."""
    return _filled(_empty_timm_vit(cfg), state)


def _empty_timm_vit(cfg: dict) -> VisionTransformer:
    vit = build_empty(cfg)
    layer, projection = vit.layers[0], vit.patch_embed.projection
    parts = dinov2_parts(vit.state_dict())
    if SWIGLU in parts:
        hidden = 2 * layer.ffn.w3.in_features
        mlp = dict(mlp_layer=SwiGLUPacked, act_layer=nn.SiLU)
    else:
        hidden, mlp = layer.ffn.layers[0][0].out_features, {}
    registers = getattr(vit, 'num_registers', 0)
    return VisionTransformer(
        img_size=vit.img_size,
        patch_size=projection.kernel_size,
        in_chans=projection.in_channels,
        embed_dim=vit.embed_dims,
        depth=len(vit.layers),
        num_heads=layer.attn.num_heads,
        # timm truncates mlp_ratio * embed_dim to an integer.
        mlp_ratio=(hidden + .5) / vit.embed_dims,
        qkv_bias=layer.attn.qkv.bias is not None,
        init_values=1e-5 if LAYER_SCALE in parts else None,
        reg_tokens=registers,
        no_embed_class=bool(registers),
        num_classes=0,
        dynamic_img_size=True,
        **mlp)


def official_vit(state: StateDict, cfg: dict) -> Features:
    """Build timm's ViT with position embeddings resized as the authors do."""
    vit = timm_vit(state, cfg)
    stored, patch = vit.patch_embed.grid_size, vit.patch_embed.patch_size

    def features(images: Tensor) -> Tensor:
        size = tuple(images.shape[-2:])
        grid = tuple(side // p for side, p in zip(size, patch))
        vit.patch_embed.set_input_size(size)
        vit.pos_embed = nn.Parameter(
            resize_pos_embed(state['pos_embed'], stored, grid))
        return vit(images)

    return features


def dinov2_vit(state: StateDict, cfg: dict) -> Features:
    """Build timm's ViT from a file with the names of DINOv2's authors.

    Without registers, position embeddings are resized as the authors do; with
    registers timm already does the same.
    """
    vit = _empty_timm_vit(cfg)
    state = checkpoint_filter_fn(dict(state), vit)
    if getattr(build_empty(cfg), 'num_registers', 0):
        return timm_vit(state, cfg)
    return official_vit(state, cfg)


def ibot_vit(state: StateDict, cfg: dict) -> Features:
    """Build timm's ViT from a file of iBOT, without its mask token."""
    names = (('.gamma_1', '.ls1.gamma'), ('.gamma_2', '.ls2.gamma'))
    state = without(state, ['masked_embed'])
    for theirs, of_timm in names:
        state = {k.replace(theirs, of_timm): v for k, v in state.items()}
    return official_vit(state, cfg)


def timm_model(state: StateDict, cfg: dict) -> nn.Module:
    """Build timm's model ``cfg['model_name']``, without its classifier."""
    model = timm.create_model(
        cfg['model_name'],
        num_classes=0,
        in_chans=cfg.get('in_channels', 3),
        **_timm_arguments(cfg))
    return _filled(model, without(state, classifier(model)))


def official_xcit(state: StateDict, cfg: dict) -> nn.Module:
    """Build timm's XCiT from the authors' file."""
    return timm_model(to_timm(backbone_of(official.from_official(state))), cfg)


def timm_resnet(state: StateDict, cfg: dict) -> nn.Module:
    """Build timm's ResNet."""
    return timm_model(
        state,
        dict(
            type='mmdino.TimmBackbone',
            model_name=f'resnet{cfg["depth"]}',
            in_channels=cfg.get('in_channels', 3)))


def torchvision_resnet(state: StateDict, cfg: dict) -> nn.Module:
    """Build torchvision's ResNet."""
    resnet = getattr(torchvision.models, f'resnet{cfg["depth"]}')()
    resnet.conv1 = nn.Conv2d(
        cfg.get('in_channels', 3), 64, 7, stride=2, padding=3, bias=False)
    resnet.fc = nn.Identity()
    return _filled(resnet, state)


def hf_vit(network: Mapping, path: str) -> Features:
    """Build transformers' ViT or DINOv2, by config.json where there is one."""
    require('Checking the format hf', 'transformers')
    import transformers

    told = vit_config(network)
    name, options = told.pop('architectures')[0], {}
    model = getattr(transformers, name)
    config = getattr(transformers, name.replace('Model', 'Config'))
    resized = dict(interpolate_pos_encoding=True)
    if name == 'ViTModel':
        options = dict(add_pooling_layer=False)
    else:  # transformers' DINOv2 always resizes its position embeddings
        resized = {}
    folder, name = osp.split(path)
    if name == FILE and osp.isfile(osp.join(folder, CONFIG)):
        source: dict = dict(pretrained_model_name_or_path=folder or '.')
    else:
        state = load_checkpoint(path)
        state = state.get('state_dict', state)
        if 'use_mask_token' in told:
            told['use_mask_token'] = any(
                k.endswith('mask_token') for k in state)
        source = dict(
            pretrained_model_name_or_path=None,
            config=config(**told),
            state_dict=state)
    vit, info = model.from_pretrained(
        **source, **options, output_loading_info=True)
    kinds = ('missing_keys', 'mismatched_keys', 'error_msgs')
    problems = {kind: info[kind] for kind in kinds if info.get(kind)}
    if problems:
        raise RuntimeError(f'transformers does not load all of {path}: '
                           f'{problems}.')
    vit.float().eval()
    return lambda images: vit(images, **resized).last_hidden_state[:, 0]


def mmpretrain_backbone(state: StateDict, cfg: dict) -> Features:
    """Build an mmpretrain backbone that gives one vector an image."""
    module = _filled(build_module(cfg), strip_prefix(state, 'backbone.'))

    def features(images: Tensor) -> Tensor:
        out = module(images)[-1]
        if out.ndim == 4:
            return out.mean((2, 3))
        return out[:, 0] if out.ndim == 3 else out

    return features


def mmpretrain_vit(state: StateDict, cfg: dict) -> Features:
    """Build mmpretrain's ViT."""
    cfg = {key: v for key, v in cfg.items() if key not in OWN_ARGUMENTS}
    return mmpretrain_backbone(state,
                               dict(cfg, type='mmpretrain.VisionTransformer'))


def mmpretrain_xcit(state: StateDict, cfg: dict) -> Features:
    """Build mmpretrain's XCiT."""
    twin = build_empty(cfg).model
    return mmpretrain_backbone(
        state,
        dict(
            type='mmpretrain.XCiT',
            patch_size=twin.patch_embed.patch_size,
            in_channels=cfg.get('in_channels', 3),
            embed_dims=twin.embed_dim,
            depth=len(twin.blocks),
            num_heads=twin.blocks[0].attn.num_heads,
            tokens_norm=twin.cls_attn_blocks[0].tokens_norm,
            out_type='cls_token'))


def mmpretrain_timm(state: StateDict, cfg: dict) -> Features:
    """Build mmpretrain's timm backbone, whose features timm's model pools."""
    module = build_module(
        dict(
            type='mmpretrain.TIMMBackbone',
            model_name=cfg['model_name'],
            in_channels=cfg.get('in_channels', 3),
            **_timm_arguments(cfg)))
    network = _filled(module, strip_prefix(state, 'backbone.')).timm_model
    pooled = timm_model(strip_prefix(state, 'backbone.timm_model.'), cfg)
    return lambda images: pooled.forward_head(network.forward_features(images))


def _timm_arguments(cfg: dict) -> dict:
    ours = ('type', 'model_name', 'pretrained', 'in_channels', 'init_cfg')
    arguments = {key: value for key, value in cfg.items() if key not in ours}
    if getattr(build_empty(cfg).model, 'dynamic_img_size', False):
        arguments['dynamic_img_size'] = True
    return arguments


def _filled(module: nn.Module, state: StateDict) -> nn.Module:
    module.load_state_dict(state)
    module.eval()  # not chained: mmpretrain's backbones return None
    return module


# How to take the backbone out of the authors' files, by format.
LONE_BACKBONES = dict(
    dinov2=dinov2.lone_backbone,
    ibot=official.lone_backbone,
    official=official.lone_backbone)
# Arguments of our VisionTransformer that mmpretrain's does not have.
OWN_ARGUMENTS = ('pos_embed_mode', 'with_mask_token', 'num_registers',
                 'cls_token_std', 'drop_path_uniform', 'drop_path_subset',
                 'with_cp', 'stem')
# Builders of the other libraries' networks, by architecture and format.
IMPLEMENTATIONS: dict[tuple, Callable[[StateDict, dict], Features]] = {
    ('dinov2', 'dinov2'): dinov2_vit,
    ('dinov2', 'ibot'): ibot_vit,
    ('dinov2', 'mmpretrain'): mmpretrain_vit,
    ('dinov2', 'official'): official_vit,
    ('dinov2', 'timm'): timm_vit,
    ('vit', 'ibot'): ibot_vit,
    ('vit', 'official'): official_vit,
    ('vit', 'mmpretrain'): mmpretrain_vit,
    ('vit', 'timm'): timm_vit,
    ('xcit', 'official'): official_xcit,
    ('xcit', 'mmpretrain'): mmpretrain_xcit,
    ('xcit', 'timm'): timm_model,
    ('resnet', 'official'): torchvision_resnet,
    ('resnet', 'mmpretrain'): mmpretrain_backbone,
    ('resnet', 'timm'): timm_resnet,
    ('resnet', 'torchvision'): torchvision_resnet,
    ('timm', 'timm'): timm_model,
    ('timm', 'mmpretrain'): mmpretrain_timm,
    ('other', 'mmpretrain'): mmpretrain_backbone,
}
