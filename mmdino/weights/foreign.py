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

# Attributes of modules, with a description, in which networks can differ
# although their tensors have the same names and shapes.
FACTS = dict(
    patch_size='patch size',
    num_layers='blocks',
    embed_dims='width',
    num_heads='attention heads',
    in_channels='channels',
    pos_embed_mode='position embeddings resized by',
    model_name="timm's model")
# Height and width in pixels of the images with which the authors of DINOv2 and
# DINOv3 evaluate (k-NN, linear classifiers), although the networks were
# adapted to larger images at the end of the training.
EVALUATED = 224


def facts(module: nn.Module) -> dict[str, Any]:
    """Return the attributes in ``FACTS`` that a backbone has."""
    found = {
        key: getattr(module, key)
        for key in FACTS if hasattr(module, key)
    }
    layers = getattr(module, 'layers', None)
    if isinstance(layers, nn.ModuleList) and hasattr(layers[0], 'attn'):
        found['num_heads'] = layers[0].attn.num_heads
    return found


def given_network(given: dict) -> dict:
    """Build a network config from a model config with ``backbone``.

    Images are normalised as ImageNet's.
    """
    backbone = given['backbone']
    size = evaluation_size(backbone, training_size(dict(model=given)))
    return dict(backbone=backbone, preprocessing=dict(IMAGENET, size=size))


def evaluation_size(backbone: Mapping, largest: int) -> int:
    """Return the side in pixels at which a foreign network is evaluated.

    The log says so if the authors evaluate with smaller images than they
    trained with.

    Args:
        backbone: Config of the backbone.
        largest: Height and width in pixels of the training images.
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

    The log says which network was inferred.

    Args:
        path: The checkpoint.
        format_: Format of the checkpoint, a key of ``FORMATS``.
        state: Tensors of the backbone under mmdino's names.
        num_heads: Number of attention heads of a ViT, if given by the user.

    Raises:
        CheckpointError: If no network of mmdino has these tensors, the number
            of heads is needed, or the config files beside the checkpoint
            describe another network.
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
        f'({in_words}), for images normalised with mean '
        f'{preprocessing["mean"]} and std {preprocessing["std"]}.',
        logger='current')
    return network


def _check_told(path: str, told: dict, arch: dict) -> None:
    """Compare the config.json beside a ViT with its tensors."""
    for ours, theirs in (('embed_dims', 'width'), ('num_layers', 'depth'),
                         ('num_heads', 'num_heads')):
        if ours in arch and told.get(theirs, arch[ours]) != arch[ours]:
            raise CheckpointError(
                f'config.json beside {path} is of another network: {theirs} '
                f'{told[theirs]}, not {arch[ours]}. Move it away, or leave '
                'out --heads.')
