"""Inference of a network from the tensors of a foreign file.

Files of mmdino hold the config of their network and do not need this. The
tensors have our names: those of mmpretrain for a ViT and a ResNet, those of
timm below ``model.`` for an XCiT.

Letters: D features.
"""
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
import torch.nn as nn
from mmpretrain.models.backbones import ResNet
from mmpretrain.models.backbones.resnet import Bottleneck
from mmpretrain.models.utils import SwiGLUFFN

from mmdino.registry import build_module
from mmdino.weights.keys import (CheckpointError, StateDict, find_misfits,
                                 name_keys, strip_prefix)

# Families of networks, each with a tensor that only this family has.
FAMILIES = dict(
    vit='patch_embed.projection.weight',
    xcit='model.pos_embed.token_projection.weight',
    resnet='layer1.0.conv1.weight')
# Parts of a DINOv2-style ViT, each recognised by a tensor.
REGISTERS, LAYER_SCALE = 'registers', 'layer scale'
SWIGLU, MASK_TOKEN = 'SwiGLU', 'mask token'
DINOV2_PARTS = {
    REGISTERS: 'register_tokens',
    LAYER_SCALE: 'layers.0.attn.gamma1.weight',
    SWIGLU: 'layers.0.ffn.w12.weight',
    MASK_TOKEN: 'mask_token'
}
# Names of timm's XCiTs by (D, blocks); the patch size follows from the stem.
XCITS = {
    (128, 12): 'nano_12',
    (192, 12): 'tiny_12',
    (192, 24): 'tiny_24',
    (384, 12): 'small_12',
    (384, 24): 'small_24',
    (512, 24): 'medium_24',
    (768, 24): 'large_24'
}

# Attention heads of published ViTs by (D, blocks); tensors do not show them.
HEADS = {
    (192, 12): 3,
    (384, 12): 6,
    (768, 12): 12,
    (1024, 24): 16,
    (1536, 40): 24
}


def is_backbone(state: Mapping[str, Any]) -> bool:
    """Return whether these are the tensors of a single backbone of ours."""
    return family(state) != 'other'


def family(backbone: Mapping[str, Any]) -> str:
    """Return the family of the tensors of a backbone.

    It is 'vit', 'dinov2' for a ViT with any of ``DINOV2_PARTS``, 'xcit',
    'resnet', 'timm' for other models of timm, or 'other'.
    """
    if FAMILIES['vit'] in backbone and dinov2_parts(backbone):
        return 'dinov2'
    for name, key in FAMILIES.items():
        if key in backbone:
            return name
    if backbone and all(key.startswith('model.') for key in backbone):
        return 'timm'
    if 'layers.0.ln1.weight' in backbone:
        return 'vit'
    return 'other'


def dinov2_parts(backbone: Mapping[str, Any]) -> list[str]:
    """Return the names of the ``DINOV2_PARTS`` that a ViT's tensors have."""
    return [part for part, key in DINOV2_PARTS.items() if key in backbone]


def kind_of(network: Mapping) -> tuple[str, str]:
    """Return the family of a network config, and its name for messages.

    A network that other libraries' ViT or ResNet cannot represent, although
    its tensors may have the same names, is 'other' if mmpretrain has it and
    'ours' if only mmdino has it.
    """
    return _kind_of(json.dumps(network['backbone']))


@lru_cache(maxsize=64)
def _kind_of(backbone: str) -> tuple[str, str]:
    cfg = json.loads(backbone)
    module = build_empty(cfg)
    name = type(module).__name__
    if name == 'TimmBackbone':
        model = cfg['model_name']
        if module.mask_token is not None:
            return 'ours', f"timm's {model} with a mask token"
        return 'xcit' if model.startswith('xcit_') else 'timm', (
            f"timm's {model}")
    special = dict(VisionTransformer=_special_vit, ResNet=_special_resnet)
    what = special[name](module) if name in special else name
    if what:
        library = type(module).__module__.partition('.')[0]
        return 'other' if library == 'mmpretrain' else 'ours', what
    if name == 'ResNet':
        return 'resnet', 'a resnet'
    return name_vit(module.state_dict())


def name_vit(backbone: Mapping[str, Any]) -> tuple[str, str]:
    """Return the family of a ViT's tensors, and its name for messages."""
    parts = ', '.join(dinov2_parts(backbone))
    return ('dinov2', f'a vit with {parts}') if parts else ('vit', 'a vit')


def _special_vit(vit: nn.Module) -> str:
    """Describe what of this ViT other libraries' ViTs lack, '' if nothing."""
    stem = type(vit.patch_embed).__name__
    if stem != 'PatchEmbed':
        return f'the stem {stem}'
    blocks = {tuple(layer.state_dict()) for layer in vit.layers}
    if len(blocks) > 1:
        return 'blocks of several kinds'
    if isinstance(vit.layers[0].ffn, SwiGLUFFN):
        return ''
    activation = type(vit.layers[0].ffn.layers[0][1]).__name__
    return '' if activation == 'GELU' else f'the activation {activation}'


def _special_resnet(resnet: nn.Module) -> str:
    """Describe what of this ResNet other libraries' lack, '' if nothing."""
    plain = dict(style='pytorch', deep_stem=False, avg_down=False)
    found = {key: getattr(resnet, key) for key in plain}
    for key, value in (('strides', (1, 2, 2, 2)), ('dilations', (1, ) * 4)):
        plain[key], found[key] = value, tuple(getattr(resnet, key))
    return ', '.join(f'a ResNet with {key}={found[key]}' for key in plain
                     if found[key] != plain[key])


def backbone_cfg(backbone: StateDict, num_heads: int | None = None) -> dict:
    """Infer the config of the backbone that these tensors fill.

    Args:
        backbone: Tensors with our names.
        num_heads: Number of attention heads of a ViT, which the tensors do not
            show; needed if width and depth are not those of a published ViT.

    Raises:
        CheckpointError: If no network has these tensors, or ``num_heads`` is
            needed.
    """
    infer = dict(
        vit=_vit_cfg, dinov2=_vit_cfg, xcit=_xcit_cfg, resnet=_resnet_cfg)
    kind = family(backbone)
    if kind not in infer:
        raise CheckpointError(
            'No tensor tells which network this is: the tensors are '
            f'{name_keys(backbone, 4)}. Give its config with --config or, for '
            'a model of timm, put its config.json beside the file.')
    try:
        return infer[kind](backbone, num_heads)
    except KeyError as error:
        raise CheckpointError(
            f'The architecture of this {kind} cannot be inferred from its '
            f'tensors, which lack {error}: give its config with '
            '--config.') from error


def head_cfg(head: StateDict) -> dict:
    """Infer the config of the DINOHead that these tensors fill.

    Raises:
        CheckpointError: If they are not the tensors of a DINOHead.
    """
    linear = [
        v for k, v in head.items()
        if k.startswith('mlp.') and k.endswith('.weight') and v.ndim == 2
    ]
    prototypes = head.get('last_layer.parametrizations.weight.original1')
    if not linear or prototypes is None:
        raise CheckpointError('The head is no DINOHead: its tensors are '
                              f'{name_keys(head)}.')
    return dict(
        type='mmdino.DINOHead',
        in_channels=linear[0].shape[1],
        out_dim=prototypes.shape[0],
        hidden_channels=linear[0].shape[0],
        bottleneck_channels=prototypes.shape[1],
        num_layers=len(linear),
        use_bn=any('running_mean' in key for key in head))


def check_tensors(state: StateDict, cfg: dict, what: str) -> None:
    """Compare names and shapes with the module that the config builds.

    Args:
        state: The tensors.
        cfg: Config of the module.
        what: What the tensors are, for the error message.

    Raises:
        CheckpointError: If they differ. The message lists the differences.
    """
    problems = find_misfits(state, _expected(json.dumps(cfg)), '{}, not {}')
    if problems:
        raise CheckpointError(f'The {what} is no {cfg["type"]}: {problems}.')


def build_empty(cfg: dict) -> nn.Module:
    """Build a module on the meta device, without memory for its weights.

    A module that cannot be built there is built on the CPU.
    """
    try:
        with torch.device('meta'):
            return build_module(cfg)
    # Some modules compute with values in their constructors.
    except (NotImplementedError, RuntimeError):
        return build_module(cfg)


def input_channels(network: nn.Module) -> int:
    """Return the channels of the images, those of the first convolution."""
    return next(module.in_channels for module in network.modules()
                if isinstance(module, nn.Conv2d))


@lru_cache(maxsize=8)
def _expected(cfg: str) -> StateDict:
    """Return the tensors, without memory, of the module of a config in JSON.
    """
    state = build_empty(json.loads(cfg)).state_dict()
    return {key: value.to('meta') for key, value in state.items()}


def _vit_cfg(backbone: StateDict, num_heads: int | None) -> dict:
    width, channels, patch, _ = backbone[FAMILIES['vit']].shape
    depth = _depth(backbone, 'layers.')
    num_heads = num_heads or HEADS.get((width, depth))
    if num_heads is None:
        raise CheckpointError(
            f'No tensor tells how many attention heads this ViT of width '
            f'{width} and {depth} blocks has: give --config, or --heads N '
            'where the tool has this option (num_heads=N in Python).')
    tokens = backbone['pos_embed'].shape[1]
    side = math.isqrt(tokens - 1)
    if side**2 + 1 != tokens:
        raise CheckpointError(
            f'pos_embed has {tokens} tokens, which is not a class token and a '
            'square grid of patches: give the config of the network with '
            '--config.')
    return dict(
        type='mmdino.VisionTransformer',
        arch=dict(
            embed_dims=width,
            num_layers=depth,
            num_heads=num_heads,
            feedforward_channels=_hidden_channels(backbone)),
        img_size=side * patch,
        patch_size=patch,
        in_channels=channels,
        qkv_bias='layers.0.attn.qkv.bias' in backbone,
        **_dinov2_cfg(backbone))


def _dinov2_cfg(backbone: StateDict) -> dict:
    """Infer the arguments that only a DINOv2-style ViT has."""
    parts, cfg = dinov2_parts(backbone), {}
    if REGISTERS in parts:
        cfg['num_registers'] = backbone['register_tokens'].shape[1]
    if LAYER_SCALE in parts:
        cfg['layer_scale_init_value'] = 1e-5
    if SWIGLU in parts:
        cfg['layer_cfgs'] = dict(ffn_type='swiglu_fused')
    if MASK_TOKEN in parts:
        cfg['with_mask_token'] = True
    return cfg


def swiglu_width(hidden_channels: int) -> int:
    """Return the width of each half of a SwiGLU that replaces an MLP."""
    return (int(hidden_channels * 2 / 3) + 7) // 8 * 8


def _hidden_channels(backbone: StateDict) -> int:
    """Return ``feedforward_channels`` of a ViT.

    Several values give the same SwiGLU; 4 D is preferred if it is one of them.
    """
    if SWIGLU not in dinov2_parts(backbone):
        return backbone['layers.0.ffn.layers.0.0.weight'].shape[0]
    width, half = backbone['layers.0.ffn.w3.weight'].shape
    if swiglu_width(4 * width) == half:
        return 4 * width
    if half % 8:
        raise CheckpointError(
            f'The SwiGLU has a width of {half}, but in DINOv2 it is a '
            'multiple of 8: give the config of the network with --config.')
    return half * 3 // 2


def _xcit_cfg(backbone: StateDict, _) -> dict:
    size = (backbone['model.cls_token'].shape[-1],
            _depth(backbone, 'model.blocks.'))
    if size not in XCITS:
        raise CheckpointError(
            f'timm has no XCiT of width {size[0]} and {size[1]} blocks. Its '
            f'XCiTs, by width and blocks, are {XCITS}.')
    convs = sum(
        key.startswith('model.patch_embed.proj.') and key.endswith('.0.weight')
        for key in backbone)
    return dict(
        type='mmdino.TimmBackbone',
        model_name=f'xcit_{XCITS[size]}_p{2**convs}_224')


def _resnet_cfg(backbone: StateDict, _) -> dict:
    stages = tuple(
        _depth(backbone, f'layer{stage}.') for stage in (1, 2, 3, 4))
    bottleneck = 'layer1.0.conv3.weight' in backbone
    for depth, (block, blocks) in ResNet.arch_settings.items():
        if stages == blocks and bottleneck == issubclass(block, Bottleneck):
            return dict(
                type='mmpretrain.ResNet',
                depth=depth,
                in_channels=backbone['conv1.weight'].shape[1])
    raise CheckpointError(
        f'mmpretrain has no ResNet with {stages} blocks in its stages: give '
        'the config of the network with --config.')


def _depth(state: StateDict, prefix: str) -> int:
    """Count the blocks ``<prefix>0.``, ``<prefix>1.``, ..."""
    return len({key.partition('.')[0] for key in strip_prefix(state, prefix)})
