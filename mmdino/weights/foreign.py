"""Inference of the network of a file that does not describe it."""
import os.path as osp
from collections.abc import Mapping
from typing import Any

import torch.nn as nn
from mmengine.logging import print_log

from mmdino.weights.config import IMAGENET, training_size
from mmdino.weights.formats import FORMATS
from mmdino.weights.infer import (backbone_cfg, build_empty, dinov2_parts,
                                  family)
from mmdino.weights.keys import CheckpointError, StateDict

# What makes another network of the same tensors, by attributes of modules.
FACTS = dict(
    patch_size='patch size',
    num_layers='blocks',
    embed_dims='width',
    num_heads='attention heads',
    in_channels='channels',
    pos_embed_mode='position embeddings resized by',
    model_name="timm's model")
# Pixels a side of the images that the authors of DINOv2 and DINOv3 evaluate
# with (k-NN, linear classifiers), though they adapted the networks to larger
# ones at the end.
EVALUATED = 224


def facts(module: nn.Module) -> dict[str, Any]:
    """Return those of ``FACTS`` that a backbone has."""
    found = {
        key: getattr(module, key)
        for key in FACTS if hasattr(module, key)
    }
    layers = getattr(module, 'layers', None)
    if isinstance(layers, nn.ModuleList) and hasattr(layers[0], 'attn'):
        found['num_heads'] = layers[0].attn.num_heads
    return found


def given_network(given: dict) -> dict:
    """Build a network config from parts of a config, with ``backbone``."""
    backbone = given['backbone']
    size = evaluation_size(backbone, training_size(dict(model=given)))
    return dict(backbone=backbone, preprocessing=dict(IMAGENET, size=size))


def evaluation_size(backbone: Mapping, largest: int) -> int:
    """Return the side in pixels at which a foreign network is evaluated.

    Args:
        backbone: Its config.
        largest: Of the images that it was trained on; said in the log where
            its authors evaluate with smaller ones.
    """
    name = backbone.get('model_name', '')
    is_adapted = 'layer_scale_init_value' in backbone or any(
        part in name for part in ('dinov2', 'dinov3'))
    if not is_adapted or largest <= EVALUATED:
        return largest
    print_log(
        f'The network was adapted to images of {largest} px. Here they are '
        f'{EVALUATED} px, as its authors evaluate k-NN and linear '
        'classifiers, unless a config or an option says another size.',
        logger='current')
    return EVALUATED


def foreign_network(path: str, format_: str, state: StateDict,
                    num_heads: int | None) -> dict:
    """Infer a network from its tensors and the config files beside them.

    The log says what it was taken for.

    Args:
        path: The checkpoint.
        format_: A key of ``FORMATS``.
        state: Of the backbone, under our names.
        num_heads: Attention heads of a ViT, where they are given.

    Raises:
        CheckpointError: If there is no such network, the heads are needed, or
            the files beside the checkpoint are of another network.
    """
    told = FORMATS[format_].read_config(osp.dirname(path))
    preprocessing = {key: told.get(key, v) for key, v in IMAGENET.items()}
    if 'model_name' in told and family(state) == 'timm':
        backbone = dict(
            type='mmdino.TimmBackbone',
            model_name=told['model_name'],
            **told['kwargs'])
        if 'global_pool' in backbone:
            print_log(
                f"The features of timm's {told['model_name']} are pooled by "
                f'{backbone["global_pool"]!r}.',
                logger='current')
    else:
        backbone = backbone_cfg(state, num_heads or told.get('num_heads'))
        _check_told(path, told, backbone.get('arch', {}))
        if told.get('norm_eps') is not None:
            backbone['norm_cfg'] = dict(type='LN', eps=told['norm_eps'])
    network = dict(backbone=backbone, preprocessing=preprocessing)
    if backbone['type'] == 'mmdino.VisionTransformer':
        backbone['pos_embed_mode'] = FORMATS[format_].pos_embed_mode(
            dinov2_parts(state))
        preprocessing['size'] = backbone['img_size']
    preprocessing['size'] = evaluation_size(backbone, preprocessing['size'])
    if backbone['type'] == 'mmpretrain.ResNet':
        network['neck'] = dict(type='mmpretrain.GlobalAveragePooling')
    in_words = ', '.join(
        f'{FACTS[key]} {value}'
        for key, value in facts(build_empty(backbone)).items())
    print_log(
        f'{path} does not tell its network: taken for {backbone["type"]} '
        f'({in_words}), images with mean {preprocessing["mean"]} and std '
        f'{preprocessing["std"]}.',
        logger='current')
    return network


def _check_told(path: str, told: dict, arch: dict) -> None:
    """Compare the config.json beside a ViT with its tensors."""
    for ours, theirs in (('embed_dims', 'width'), ('num_layers', 'depth'),
                         ('num_heads', 'num_heads')):
        if ours in arch and told.get(theirs, arch[ours]) != arch[ours]:
            raise CheckpointError(
                f'config.json beside {path} is of another network: {theirs} '
                f'{told[theirs]}, not {arch[ours]}. Move it away, or do not '
                'give --heads.')
