"""Models of timm and torchvision's ResNet, without classifiers.

A ViT becomes our VisionTransformer and a ResNet mmpretrain's; an XCiT and
every other model become a TimmBackbone. timm's config.json beside a file names
the model.
"""
import math
import os.path as osp
from collections.abc import Mapping
from typing import Any

import timm
import torch
import torch.nn as nn
from mmengine.fileio import load
from timm.layers import GluMlp
from timm.models.vision_transformer import VisionTransformer

from mmdino.weights.infer import build_empty, family
from mmdino.weights.keys import (CheckpointError, StateDict, add_prefix,
                                 flipped, rename)

VIT_NAMES = (
    ('cls_token', 'cls_token'),
    ('pos_embed', 'pos_embed'),
    ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
    ('blocks.{n}.norm1.{p}', 'layers.{n}.ln1.{p}'),
    ('blocks.{n}.attn.{p}', 'layers.{n}.attn.{p}'),
    ('blocks.{n}.norm2.{p}', 'layers.{n}.ln2.{p}'),
    ('blocks.{n}.mlp.fc1.{p}', 'layers.{n}.ffn.layers.0.0.{p}'),
    ('blocks.{n}.mlp.fc2.{p}', 'layers.{n}.ffn.layers.1.{p}'),
    ('norm.{p}', 'ln1.{p}'),
)

SWIGLU_NAMES = (
    ('blocks.{n}.mlp.fc1.{p}', 'layers.{n}.ffn.w12.{p}'),
    ('blocks.{n}.mlp.fc2.{p}', 'layers.{n}.ffn.w3.{p}'),
)
DINOV2_NAMES = (
    ('reg_token', 'register_tokens'),
    ('blocks.{n}.ls1.gamma', 'layers.{n}.attn.gamma1.weight'),
    ('blocks.{n}.ls2.gamma', 'layers.{n}.ffn.gamma2.weight'),
    *VIT_NAMES,
)

RESNET_NAMES = tuple((name, name) for name in (
    'conv1.{p}',
    'bn1.{p}',
    'layer{n}.{p}',
))

# Arguments of timm's models that have another name in TimmBackbone.
RENAMED = dict(in_chans='in_channels')

TIMM = [('model.{p}', '{p}')]


def is_timm(state: Mapping[str, Any]) -> bool:
    """Return whether names are those of timm only.

    These are a ViT with a classifier, registers or layer scale, and an XCiT.
    """
    return ('blocks.0.norm1.weight' in state and any(
        key in state
        for key in ('head.weight', 'reg_token', 'blocks.0.ls1.gamma'))
            or 'pos_embed.token_projection.weight' in state)


def from_timm(state: StateDict) -> StateDict:
    """Convert timm's names to ours."""
    if is_torchvision(state):
        return rename(state, RESNET_NAMES, "mmpretrain's ResNet")
    if {'cls_token', 'pos_embed'} <= state.keys():
        return _from_vit(state)
    return add_prefix(state, 'model.')


def to_timm(backbone: StateDict) -> StateDict:
    """Convert our names to timm's.

    For a ViT with registers, timm stores the sum of the class token and its
    position embedding in place of the two.
    """
    names = dict(
        vit=flipped(VIT_NAMES),
        dinov2=flipped(SWIGLU_NAMES + DINOV2_NAMES),
        xcit=TIMM,
        timm=TIMM,
        resnet=RESNET_NAMES)
    state = rename(backbone, names[family(backbone)], 'timm')
    if 'register_tokens' in backbone:
        of_class, of_patches = state['pos_embed'].split(
            [1, state['pos_embed'].shape[1] - 1], dim=1)
        state['cls_token'] = state['cls_token'] + of_class
        state['pos_embed'] = of_patches
    return state


def fits_other(state: Mapping[str, Any]) -> bool:
    """Return whether timm's tensors are those of an XCiT or a ResNet."""
    return ('pos_embed.token_projection.weight' in state
            or is_torchvision(state))


def fits_vit(state: Mapping[str, Any], told: Mapping) -> bool:
    """Return whether timm's tensors fit our VisionTransformer.

    Args:
        state: Tensors without a classifier.
        told: Content of config.json beside the file, see :func:`read_config`.
    """
    if not told.get('is_vit', True) or 'pos_embed' not in state:
        return False
    try:
        patches = _from_vit(state)['pos_embed'].shape[1] - 1
    except CheckpointError:
        return False
    return 'norm.weight' in state and math.isqrt(patches)**2 == patches


def _from_vit(state: StateDict) -> StateDict:
    fc1, fc2 = (state.get(f'blocks.0.mlp.fc{i}.weight') for i in (1, 2))
    names = DINOV2_NAMES
    if fc1 is not None and fc2 is not None and (fc1.shape[0]
                                                == 2 * fc2.shape[1]):
        names = SWIGLU_NAMES + names
    state = rename(state, names, "mmdino's VisionTransformer")
    if 'register_tokens' in state:
        pos_embed = state['pos_embed']
        if math.isqrt(pos_embed.shape[1])**2 != pos_embed.shape[1]:
            raise CheckpointError(
                f'pos_embed has {pos_embed.shape[1]} tokens, which form no '
                "square grid of patches, as mmdino's VisionTransformer needs. "
                'A TimmBackbone may accept it: give its config with --config.')
        state['pos_embed'] = torch.cat(
            [torch.zeros_like(state['cls_token']), pos_embed], dim=1)
    return state


def read_config(folder: str) -> dict:
    """Read timm's config.json beside a file.

    timm averages the patches of a DINOv3 by default. Here the pooling is the
    class token, with which it was trained, unless the file names a pooling.

    Returns:
        A dict, empty without such a file, with those of the following that the
        file gives: ``model_name``; ``kwargs`` of a :class:`TimmBackbone`;
        ``classifier``, the prefixes of its tensors; ``is_vit``, whether the
        model computes the same as our VisionTransformer; ``width``, ``depth``
        and ``num_heads`` of a transformer; ``norm_eps`` of a ViT; ``mean`` and
        ``std`` in pixel values; ``size``, width of the images in pixels.
    """
    path = osp.join(folder, 'config.json')
    cfg = load(path) if osp.isfile(path) else {}
    name, kwargs = cfg.get('architecture'), cfg.get('model_args') or {}
    if not isinstance(name, str) or not timm.is_model(name):
        return {}
    kwargs = {RENAMED.get(key, key): v for key, v in kwargs.items()}
    kwargs.pop('num_classes', None)
    if name.startswith('vit_') and '_dinov3' in name:
        kwargs.setdefault('global_pool', 'token')
    model = build_empty(
        dict(type='mmdino.TimmBackbone', model_name=name, **kwargs)).model
    told = dict(
        model_name=name,
        kwargs=kwargs,
        classifier=classifier(model),
        is_vit=_is_vit(model))
    if hasattr(model, 'blocks') and hasattr(model.blocks[0], 'attn'):
        told.update(
            width=model.embed_dim,
            depth=len(model.blocks),
            num_heads=model.blocks[0].attn.num_heads)
    if told['is_vit']:
        told['norm_eps'] = model.norm.eps
    seen = cfg.get('pretrained_cfg') or {}
    told.update({
        key: [round(value * 255, 6) for value in seen[key]]
        for key in ('mean', 'std') if seen.get(key)
    })
    if seen.get('input_size'):
        told['size'] = seen['input_size'][-1]
    return told


def classifier(model: nn.Module) -> tuple[str, ...]:
    """Return the prefixes of a timm model's classifier."""
    names = model.pretrained_cfg.get('classifier') or ()
    names = (names, ) if isinstance(names, str) else names
    return tuple(f'{name}.' for name in names)


def _is_vit(model: nn.Module) -> bool:
    if type(model) is not VisionTransformer or model.global_pool != 'token':
        return False
    mlp = model.blocks[0].mlp
    activation = nn.SiLU if isinstance(mlp, GluMlp) else nn.GELU
    return isinstance(mlp.act, activation)


def is_torchvision(state: Mapping[str, Any]) -> bool:
    """Return whether names are those of a ResNet of torchvision or timm."""
    return 'layer1.0.conv1.weight' in state and 'conv1.weight' in state


def rename_torchvision(state: StateDict) -> StateDict:
    """Convert to and from our names, which are the same."""
    return rename(state, RESNET_NAMES, "torchvision's ResNet")
