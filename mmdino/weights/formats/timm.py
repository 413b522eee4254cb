"""timm's ViT, XCiT and ResNet, torchvision's ResNet; no classifiers."""

from typing import Any, Mapping

from mmdino.weights.formats.ours import backbone_of, from_backbone
from mmdino.weights.infer import family
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

RESNET_NAMES = tuple((name, name) for name in (
    'conv1.{p}',
    'bn1.{p}',
    'layer{n}.{p}',
))


def is_timm(checkpoint: Mapping[str, Any]) -> bool:
    """Whether names are timm's alone: a ViT with a classifier, an XCiT."""
    return ('blocks.0.norm1.weight' in checkpoint
            and 'head.weight' in checkpoint
            or 'pos_embed.token_projection.weight' in checkpoint)


def from_timm(state: StateDict) -> StateDict:
    return from_backbone(backbone_from_timm(state))


def to_timm(state: StateDict) -> StateDict:
    return backbone_to_timm(backbone_of(state))


def backbone_from_timm(state: StateDict) -> StateDict:
    """Our names for timm's."""
    if 'pos_embed.token_projection.weight' in state:
        return add_prefix(state, 'model.')
    if 'layer1.0.conv1.weight' in state:
        return rename(state, RESNET_NAMES, "mmpretrain's ResNet")
    return rename(state, VIT_NAMES, "mmdino's VisionTransformer")


def backbone_to_timm(backbone: StateDict) -> StateDict:
    """timm's names for ours."""
    names = dict(
        vit=flipped(VIT_NAMES),
        xcit=[('model.{p}', '{p}')],
        timm=[('model.{p}', '{p}')],
        resnet=RESNET_NAMES)
    return rename(backbone, names[family(backbone)], 'timm')


def is_torchvision(checkpoint: Mapping[str, Any]) -> bool:
    """Whether names are those of a ResNet, timm's as well."""
    return 'layer1.0.conv1.weight' in checkpoint


def from_torchvision(state: StateDict) -> StateDict:
    return from_backbone(rename(state, RESNET_NAMES, "torchvision's ResNet"))


def to_torchvision(state: StateDict) -> StateDict:
    backbone = backbone_of(state)
    if family(backbone) != 'resnet':
        raise CheckpointError(
            "torchvision's ResNet has no place for a "
            f'{family(backbone)}: convert to timm, mmpretrain or official.')
    return rename(backbone, RESNET_NAMES, "torchvision's ResNet")
