"""mmpretrain's checkpoints: a backbone's tensors below ``backbone.``.

Its ViT and ResNet have our names; its XCiT has names of its own.
"""
from collections.abc import Mapping
from typing import Any

from mmdino.weights.formats.ours import backbone_of, from_backbone, is_linear
from mmdino.weights.infer import family
from mmdino.weights.keys import StateDict, add_prefix, flipped, rename

BACKBONE = (('backbone.{p}', '{p}'), )
TIMM_NAMES = (('timm_model.{p}', 'model.{p}'), )
LINEAR = (('head.fc.{p}', 'heads.0.{p}'), )
# Pairs of mmpretrain's name of an XCiT and ours; the stem is numbered
# differently.
XCIT_NAMES = (
    ('cls_token', 'model.cls_token'),
    *((f'patch_embed.proj.{i}.{a}.{{p}}',
       f'model.patch_embed.proj.{2 * i}.{b}.{{p}}') for i in range(4)
      for a, b in (('conv', 0), ('bn', 1))),
    ('pos_embed.token_projection.conv.{p}',
     'model.pos_embed.token_projection.{p}'),
    *((f'{a}_layers.{{n}}.{theirs}', f'model.{b}.{{n}}.{ours}')
      for a, b in (('xca', 'blocks'), ('ca', 'cls_attn_blocks'))
      for theirs, ours in (
          ('ffn.layers.0.0.{p}', 'mlp.fc1.{p}'),
          ('ffn.layers.1.{p}', 'mlp.fc2.{p}'),
          ('local_mp.conv1.conv.{p}', 'local_mp.conv1.{p}'),
          ('local_mp.conv1.bn.{p}', 'local_mp.bn.{p}'),
          ('local_mp.conv2.conv.{p}', 'local_mp.conv2.{p}'),
          ('{p}', '{p}'),
      )),
    ('norm.{p}', 'model.norm.{p}'),
)


def is_mmpretrain(state: Mapping[str, Any]) -> bool:
    """Return whether there is a backbone without teacher, or a classifier."""
    return {*state} == {'head.fc.weight', 'head.fc.bias'} or any(
        key.startswith('backbone.') for key in state)


def from_mmpretrain(checkpoint: dict[str, StateDict | dict]) -> StateDict:
    """Convert a backbone or a linear classifier to our state dict."""
    state = checkpoint.get('state_dict', checkpoint)
    if 'head.fc.weight' in state:
        return rename(state, LINEAR, 'A linear classifier')
    backbone = rename(state, BACKBONE, "mmpretrain's backbone")
    if 'xca_layers.0.gamma1' in backbone:
        backbone = rename(backbone, XCIT_NAMES, "mmpretrain's XCiT")
    elif all(key.startswith('timm_model.') for key in backbone):
        backbone = rename(backbone, TIMM_NAMES, 'TIMMBackbone')
    return from_backbone(backbone)


def to_mmpretrain(state: StateDict) -> StateDict:
    """Convert a backbone or a linear classifier to mmpretrain's names."""
    if is_linear(state):
        return rename(state, flipped(LINEAR), "mmpretrain's LinearClsHead")
    backbone = backbone_of(state)
    names = dict(xcit=XCIT_NAMES, timm=TIMM_NAMES).get(family(backbone))
    if names:
        backbone = rename(backbone, flipped(names), "mmpretrain's backbone")
    return add_prefix(backbone, 'backbone.')
