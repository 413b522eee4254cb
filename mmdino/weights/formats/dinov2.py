"""Checkpoints of the authors of DINOv2, published or of their training.

There are three kinds of files:

- a backbone;
- a training: ``model`` with ``student.*``, ``teacher.*``, ``dino_loss.center``
  (1, K) and ``ibot_patch_loss.center`` (1, 1, K), beside ``optimizer`` and
  ``iteration``, which are not converted;
- the teacher of a training: ``teacher`` with ``backbone.*``, ``dino_head.*``
  and, if the patches have a head of their own, ``ibot_head.*``. Its weights
  become those of both teacher and student, so that a training can start from
  them.

Blocks may be stored in chunks, where ``blocks.1.13.`` is block 13. They are
written without chunks.
"""
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from mmdino.weights.formats.official import head_from, head_to
from mmdino.weights.formats.ours import (STUDENT, TEACHER, backbone_of,
                                         from_backbone)
from mmdino.weights.formats.timm import VIT_NAMES
from mmdino.weights.keys import (CheckpointError, StateDict, add_prefix,
                                 flipped, name_keys, refuse_leftover, rename,
                                 strip_prefix)

NAMES = (
    ('mask_token', 'mask_token'),
    ('register_tokens', 'register_tokens'),
    ('blocks.{n}.ls1.gamma', 'layers.{n}.attn.gamma1.weight'),
    ('blocks.{n}.ls2.gamma', 'layers.{n}.ffn.gamma2.weight'),
    ('blocks.{n}.mlp.w12.{p}', 'layers.{n}.ffn.w12.{p}'),
    ('blocks.{n}.mlp.w3.{p}', 'layers.{n}.ffn.w3.{p}'),
    *VIT_NAMES,
)
HEADS = (('dino_head.', 'head.'), ('ibot_head.', 'patch_head.'))
CENTERS = (('dino_loss.center', 'centering.center'),
           ('ibot_patch_loss.center', 'patch_centering.center'))
NOT_WEIGHTS = {'optimizer', 'iteration', 'scheduler'}
NETWORKS = (('student.', STUDENT), ('teacher.', TEACHER))
PLACES = tuple(f'{network}{part}' for network in (STUDENT, TEACHER)
               for part in ('backbone.', 'head.', 'patch_head.'))
REMEDY = 'give --which to convert one backbone alone.'
_refuse = partial(refuse_leftover, whose="authors' DINOv2")


def is_dinov2(state: Mapping[str, Any]) -> bool:
    """Return whether names are those of the authors' files.

    A lone backbone is recognised by its mask token.
    """
    model, teacher = state.get('model'), state.get('teacher')
    if isinstance(model, Mapping):
        return _is_lone(model) or any(
            key.startswith('student.backbone.') for key in model)
    if isinstance(teacher, Mapping):
        return 'student' not in state and any(
            key.startswith('backbone.') for key in teacher)
    return _is_lone(state)


def from_dinov2(checkpoint: dict[str, Any]) -> StateDict:
    """Convert any of the authors' files to our state dict."""
    for kind in ('model', 'teacher'):
        if isinstance(checkpoint.get(kind), Mapping):
            _refuse(checkpoint.keys() - NOT_WEIGHTS - {kind})
            held = checkpoint[kind]
            _refuse_shards(held)
            if kind == 'teacher':
                return _from_teacher(held)
            return from_backbone(from_dinov2_vit(held)) if _is_lone(
                held) else _from_training(held)
    return from_backbone(
        from_dinov2_vit(checkpoint.get('state_dict', checkpoint)))


def lone_backbone(checkpoint: dict[str, Any], which: str) -> StateDict:
    """Return one network's backbone with the authors' names.

    Args:
        checkpoint: Content of any of the authors' files.
        which: 'teacher' or 'student'.
    """
    if 'teacher' in checkpoint:
        return strip_prefix(checkpoint['teacher'], 'backbone.')
    state = checkpoint.get('state_dict', checkpoint)
    state = state.get('model', state)
    return strip_prefix(state, f'{which}.backbone.') or state


def to_dinov2(state: StateDict) -> dict[str, Any]:
    """Convert to the authors' file of a backbone, a training or a teacher.

    Without heads, the backbone alone is written. With heads, a state without
    centres whose student equals its teacher is written as a teacher, and every
    other one as a training.

    Raises:
        CheckpointError: If the authors' files have no place for a tensor, or a
            training lacks a head or the centre.
    """
    if not any(key.startswith(('head.', 'teacher.head.')) for key in state):
        return to_dinov2_vit(backbone_of(state))
    centers = {ours for _, ours in CENTERS}
    leftover = [
        key for key in state if not key.startswith(PLACES) | (key in centers)
    ]
    if leftover:
        raise CheckpointError("The authors' checkpoints have no place for "
                              f'{name_keys(leftover)}: {REMEDY}')
    if not centers & state.keys() and _is_one_network(state):
        return dict(teacher=_to_network(state, TEACHER))
    if 'centering.center' not in state:
        raise CheckpointError(
            "The checkpoint has no centering.center, which the authors' "
            f'training needs: {REMEDY}')
    model = {}
    for theirs, ours in NETWORKS:
        model.update(add_prefix(_to_network(state, ours), theirs))
    for theirs, ours in CENTERS:
        if ours in state:
            model[theirs] = state[ours]
    if 'ibot_patch_loss.center' in model:
        model['ibot_patch_loss.center'] = state[CENTERS[1][1]][None]
    return dict(model=model)


def from_dinov2_vit(state: StateDict) -> StateDict:
    """Convert a single ViT to our names."""
    state = {
        re.sub(r'^blocks\.\d+\.(\d+\.)', r'blocks.\1', key): value
        for key, value in state.items()
    }
    return rename(state, NAMES, "mmdino's VisionTransformer")


def to_dinov2_vit(backbone: StateDict) -> StateDict:
    """Convert a single ViT to the authors' names."""
    return rename(backbone, flipped(NAMES), "The authors' DINOv2")


def _is_lone(state: Mapping[str, Any]) -> bool:
    return 'mask_token' in state and 'pos_embed' in state and any(
        key.startswith('blocks.') for key in state)


def _from_training(model: StateDict) -> StateDict:
    state = {}
    for theirs, ours in NETWORKS:
        network = strip_prefix(model, theirs)
        if not network:
            raise CheckpointError(f'The training\'s checkpoint has no {theirs}'
                                  f'*: its tensors are {name_keys(model, 4)}.')
        state.update(add_prefix(_from_network(network), ours))
    for theirs, ours in CENTERS:
        if theirs in model:
            state[ours] = model[theirs].flatten(0, -2)
    known = {theirs for theirs, _ in CENTERS}
    _refuse(
        k for k in model
        if k not in known and not k.startswith(('student.', 'teacher.')))
    return state


def _from_teacher(network: StateDict) -> StateDict:
    network = _from_network(network)
    return {**network, **add_prefix(network, TEACHER)}


def _from_network(network: StateDict) -> StateDict:
    places = ('backbone.', *(theirs for theirs, _ in HEADS))
    _refuse(key for key in network if not key.startswith(places))
    backbone = from_dinov2_vit(strip_prefix(network, 'backbone.'))
    state = add_prefix(backbone, 'backbone.')
    for theirs, ours in HEADS:
        head = head_from(strip_prefix(network, theirs))
        state.update(add_prefix(head, ours))
    return state


def _to_network(state: StateDict, prefix: str) -> StateDict:
    network = add_prefix(
        to_dinov2_vit(backbone_of(state, prefix)), 'backbone.')
    for theirs, ours in HEADS:
        head = strip_prefix(state, prefix + ours)
        if head:
            network.update(add_prefix(head_to(head, REMEDY), theirs))
        elif ours == 'head.':
            raise CheckpointError(
                f'The checkpoint has no {prefix}head.* beside the backbone: '
                f'{REMEDY}')
    return network


def _is_one_network(state: StateDict) -> bool:
    """Return whether the student equals the teacher exactly."""
    teacher = strip_prefix(state, TEACHER)
    student = {k: v for k, v in state.items() if not k.startswith(TEACHER)}
    return teacher.keys() == student.keys() and all(
        torch.equal(value, student[key]) for key, value in teacher.items())


def _refuse_shards(state: StateDict) -> None:
    if any('flat_param' in key for key in state):
        raise CheckpointError(
            "The file is one rank's share of a training with FSDP, whose "
            'weights are pieces of flat tensors: use teacher_checkpoint.pth, '
            'which the same training writes below eval/.')
