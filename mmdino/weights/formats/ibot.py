"""Checkpoints of the authors of iBOT.

There are two kinds of files: a backbone, and a full checkpoint of a training
(``student``, ``teacher``, ``ibot_loss``, beside ``optimizer``, ``epoch``,
``args`` and ``fp16_scaler``, which are not converted).

In iBOT the heads of class tokens and patches always share their MLP. They may
also share the last layer, which is then stored twice (``last_layer``,
``last_layer2``). In mmdino the heads are either shared as a whole or separate.
If the two last layers differ, the patch head is separate and gets a copy of
the MLP. The teacher of iBOT sees no masks and has no mask token: it gets that
of the student.
"""
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from mmengine.logging import print_log

from mmdino.weights.formats.official import head_from, head_to, without_ddp
from mmdino.weights.formats.ours import (STUDENT, TEACHER, backbone_of,
                                         from_backbone)
from mmdino.weights.formats.timm import VIT_NAMES
from mmdino.weights.keys import (CheckpointError, StateDict, add_prefix,
                                 flipped, name_keys, refuse_leftover, rename,
                                 strip_prefix)

NAMES = (
    ('masked_embed', 'mask_token'),
    ('blocks.{n}.gamma_1', 'layers.{n}.attn.gamma1.weight'),
    ('blocks.{n}.gamma_2', 'layers.{n}.ffn.gamma2.weight'),
    *VIT_NAMES,
)
FULL = {'student', 'teacher', 'ibot_loss'}
NOT_WEIGHTS = {'optimizer', 'epoch', 'args', 'fp16_scaler'}
NETWORKS = (('student', STUDENT), ('teacher', TEACHER))
CENTERS = (('center', 'centering.center'), ('center2',
                                            'patch_centering.center'))
PLACES = tuple(f'{network}{part}' for network in (STUDENT, TEACHER)
               for part in ('backbone.', 'head.', 'patch_head.'))
REMEDY = 'give --which to convert one backbone alone.'
_refuse = partial(refuse_leftover, whose="authors' iBOT")
FIRST, SECOND = 'last_layer.', 'last_layer2.'


def is_ibot(state: Mapping[str, Any]) -> bool:
    """Return whether names are those of a training or a student's backbone.

    A teacher's backbone has the same names as one of DINO.
    """
    return FULL <= state.keys() or 'masked_embed' in state


def from_ibot(checkpoint: dict[str, Any]) -> StateDict:
    """Convert any of the authors' files to our state dict."""
    if 'ibot_loss' not in checkpoint:
        state = checkpoint.get('state_dict', checkpoint)
        return from_backbone(from_ibot_vit(state))
    missing = FULL - checkpoint.keys()
    if missing:
        raise CheckpointError(
            f'The full checkpoint lacks {name_keys(missing)}.')
    _refuse(checkpoint.keys() - FULL - NOT_WEIGHTS)
    networks = {name: without_ddp(checkpoint[name]) for name, _ in NETWORKS}
    one_head = all(map(_is_shared, networks.values()))
    state = {}
    for name, prefix in NETWORKS:
        network = _from_network(networks[name], one_head)
        state.update(add_prefix(network, prefix))
    if 'backbone.mask_token' in state:
        state.setdefault('teacher.backbone.mask_token',
                         state['backbone.mask_token'])
    if not one_head:
        _say('The heads of this iBOT share their MLP. In mmdino the patch '
             'head gets a copy of it: if training continues, the two will '
             'differ.')
    centers = dict(checkpoint['ibot_loss'])
    for theirs, ours in CENTERS:
        if theirs in centers:
            state[ours] = centers.pop(theirs).flatten(0, -2)
    _refuse(centers)
    return state


def to_ibot(state: StateDict) -> dict[str, Any]:
    """Convert to the authors' file: a full one if there is a head.

    Raises:
        CheckpointError: If the authors' file has no place for a tensor, or a
            full one lacks a head or a centre.
    """
    if not any(key.startswith(('head.', 'teacher.head.')) for key in state):
        return to_ibot_vit(backbone_of(state))
    centers = {ours for _, ours in CENTERS}
    missing = centers - state.keys()
    if missing:
        raise CheckpointError(f'The checkpoint has no {name_keys(missing)}, '
                              f"which the authors' training needs: {REMEDY}")
    leftover = [
        key for key in state if not key.startswith(PLACES) | (key in centers)
    ]
    if leftover:
        raise CheckpointError("The authors' full checkpoint has no place for "
                              f'{name_keys(leftover)}: {REMEDY}')
    mask_tokens = [
        state[key]
        for key in ('backbone.mask_token', 'teacher.backbone.mask_token')
        if key in state
    ]
    if len(mask_tokens) == 2 and not torch.equal(*mask_tokens):
        _say("iBOT's teacher has no mask token: that of this teacher is left "
             'out. The features do not depend on it.')
    checkpoint = dict(
        ibot_loss=dict(
            center=state['centering.center'],
            center2=state['patch_centering.center'][None]))
    for name, prefix in NETWORKS:
        network = _to_network(state, prefix)
        if name == 'teacher':
            network.pop('backbone.masked_embed', None)
        # The authors wrap the student in DDP, and the teacher too where its
        # BatchNorm is synchronised.
        wrapped = name == 'student' or any(
            key.endswith('running_mean') for key in network)
        checkpoint[name] = add_prefix(network, 'module.' if wrapped else '')
    return checkpoint


def from_ibot_vit(state: StateDict) -> StateDict:
    """Convert a single ViT to our names."""
    return rename(state, NAMES, "mmdino's VisionTransformer")


def to_ibot_vit(backbone: StateDict) -> StateDict:
    """Convert a single ViT to the authors' names."""
    return rename(backbone, flipped(NAMES), "The authors' iBOT")


def _from_network(network: StateDict, one_head: bool) -> StateDict:
    _refuse(k for k in network if not k.startswith(('backbone.', 'head.')))
    backbone = from_ibot_vit(strip_prefix(network, 'backbone.'))
    head = strip_prefix(network, 'head.')
    second = strip_prefix(head, SECOND)
    head = {k: v for k, v in head.items() if not k.startswith(SECOND)}
    state = {
        **add_prefix(backbone, 'backbone.'),
        **add_prefix(head_from(head), 'head.')
    }
    if not one_head:
        patch_head = {**head, **add_prefix(second, FIRST)}
        state.update(add_prefix(head_from(patch_head), 'patch_head.'))
    return state


def _to_network(state: StateDict, prefix: str) -> StateDict:
    head = strip_prefix(state, f'{prefix}head.')
    patch_head = strip_prefix(state, f'{prefix}patch_head.') or head
    if not head:
        raise CheckpointError(
            f'The checkpoint has no {prefix}head.* beside the backbone: '
            f'{REMEDY}')
    head, patch_head = (head_to(part, REMEDY) for part in (head, patch_head))
    apart = [
        key for key, value in head.items() if key.startswith('mlp.')
        and not (key in patch_head and torch.equal(value, patch_head[key]))
    ]
    if apart or {k for k in patch_head if k.startswith('mlp.')} - head.keys():
        raise CheckpointError(
            f"iBOT's two heads share their MLP, but {prefix}patch_head has "
            f'another one than {prefix}head: {REMEDY}')
    second = strip_prefix(patch_head, FIRST)
    return {
        **add_prefix(to_ibot_vit(backbone_of(state, prefix)), 'backbone.'),
        **add_prefix(head, 'head.'),
        **add_prefix(second, f'head.{SECOND}')
    }


def _is_shared(network: StateDict) -> bool:
    """Return whether the two last layers are equal exactly."""
    first, second = (
        strip_prefix(network, f'head.{layer}') for layer in (FIRST, SECOND))
    return first.keys() == second.keys() and all(
        torch.equal(value, second[key]) for key, value in first.items())


def _say(text: str) -> None:
    print_log(text, logger='current')
