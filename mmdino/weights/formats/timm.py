"""timm's models, torchvision's ResNet; no classifiers.

A ViT, an XCiT and a ResNet are networks of ours, any other is a TimmBackbone.
timm's config.json beside a file tells the model.
"""
import os.path as osp
from typing import Any, Mapping

import timm
from mmengine.fileio import load

from mmdino.weights.infer import build_empty, family
from mmdino.weights.keys import StateDict, add_prefix, flipped, rename

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

RESNET_NAMES = tuple((name, name) for name in (
    'conv1.{p}',
    'bn1.{p}',
    'layer{n}.{p}',
))

# timm's name of an argument: that of a TimmBackbone.
RENAMED = dict(in_chans='in_channels')

TIMM = [('model.{p}', '{p}')]


def is_timm(state: Mapping[str, Any]) -> bool:
    """Whether names are timm's alone: a ViT with a classifier, an XCiT."""
    return ('blocks.0.norm1.weight' in state and 'head.weight' in state
            or 'pos_embed.token_projection.weight' in state)


def from_timm(state: StateDict) -> StateDict:
    """Our names for timm's."""
    if is_torchvision(state):
        return rename(state, RESNET_NAMES, "mmpretrain's ResNet")
    if {'cls_token', 'pos_embed'} <= state.keys():
        return rename(state, VIT_NAMES, "mmdino's VisionTransformer")
    return add_prefix(state, 'model.')


def to_timm(backbone: StateDict) -> StateDict:
    """timm's names for ours."""
    names = dict(
        vit=flipped(VIT_NAMES), xcit=TIMM, timm=TIMM, resnet=RESNET_NAMES)
    return rename(backbone, names[family(backbone)], 'timm')


def read_config(folder: str) -> dict:
    """What timm's config.json beside a file tells.

    Returns:
        dict: Of ``model_name``, ``kwargs``, ``width``, ``depth`` and
        ``num_heads`` of a ViT, ``mean`` and ``std`` in pixel values, ``size``
        in pixels, those that are told.
    """
    path = osp.join(folder, 'config.json')
    cfg = load(path) if osp.isfile(path) else {}
    name, kwargs = cfg.get('architecture'), cfg.get('model_args') or {}
    if not isinstance(name, str) or not timm.is_model(name):
        return {}
    kwargs = {RENAMED.get(key, key): v for key, v in kwargs.items()}
    kwargs.pop('num_classes', None)
    told = dict(model_name=name, kwargs=kwargs)
    model = build_empty(
        dict(type='mmdino.TimmBackbone', model_name=name, **kwargs)).model
    if hasattr(model, 'blocks') and hasattr(model.blocks[0], 'attn'):
        told.update(
            width=model.embed_dim,
            depth=len(model.blocks),
            num_heads=model.blocks[0].attn.num_heads)
    seen = cfg.get('pretrained_cfg') or {}
    told.update({
        key: [round(value * 255, 6) for value in seen[key]]
        for key in ('mean', 'std') if seen.get(key)
    })
    if seen.get('input_size'):
        told['size'] = seen['input_size'][-1]
    return told


def is_torchvision(state: Mapping[str, Any]) -> bool:
    """Whether names are those of a ResNet, timm's as well."""
    return 'layer1.0.conv1.weight' in state and 'conv1.weight' in state


def rename_torchvision(state: StateDict) -> StateDict:
    """To and from our names, which are the same."""
    return rename(state, RESNET_NAMES, "torchvision's ResNet")
