"""Checkpoints of the authors of DINO; iBOT and DINOv2 share their head.

There are three kinds of files: a backbone; a full checkpoint of a training
(``student``, ``teacher``, ``dino_loss``, beside ``optimizer``, ``epoch``,
``args`` and ``fp16_scaler``); and a linear classifier (``module.linear.*``
below ``state_dict``). The networks and the centre of a full checkpoint are
converted. The optimizer's state is not, because it has the order of the
authors' parameter groups.
"""
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from mmdino.weights.formats.ours import (STUDENT, TEACHER, backbone_of,
                                         from_backbone, is_linear)
from mmdino.weights.formats.timm import from_timm, is_timm, to_timm
from mmdino.weights.infer import family
from mmdino.weights.keys import (WEIGHT_NORM, CheckpointError, StateDict,
                                 add_prefix, flipped, join_qkv, name_keys,
                                 refuse_leftover, rename, split_qkv,
                                 strip_prefix)

FULL = {'student', 'teacher', 'dino_loss'}
NOT_WEIGHTS = {'optimizer', 'epoch', 'args', 'fp16_scaler'}
LINEAR_NAMES = (('module.linear.{p}', 'heads.0.{p}'), )
PLACES = ('backbone.', 'head.', 'teacher.backbone.', 'teacher.head.',
          'centering.')
REMEDY = 'give --which to convert one backbone alone.'
_refuse = partial(refuse_leftover, whose="authors' DINO")
# Keys beside the weights of a linear classifier; they are not converted.
LINEAR_STATE = {'epoch', 'optimizer', 'scheduler', 'best_acc'}


def is_official(state: Mapping[str, Any]) -> bool:
    """Return whether names are those of the authors' files.

    A lone ViT has timm's names as well, but no classifier.
    """
    return (FULL <= state.keys() or 'module.linear.weight' in state
            or any(key.startswith('pos_embeder.') for key in state)
            or 'blocks.0.norm1.weight' in state and not is_timm(state))


def from_official(checkpoint: dict[str, Any]) -> StateDict:
    """Convert any of the authors' files to our state dict."""
    if 'student' in checkpoint:
        return _from_full(checkpoint)
    state = checkpoint.get('state_dict', checkpoint)
    if 'module.linear.weight' in state:
        _refuse(checkpoint.keys() - LINEAR_STATE - {'state_dict'})
        return rename(state, LINEAR_NAMES, 'A linear classifier')
    return from_backbone(_backbone_from(state))


def lone_backbone(checkpoint: dict[str, Any], which: str) -> StateDict:
    """Return one network's backbone with the authors' names.

    Args:
        checkpoint: Content of any file with a network, of the authors of DINO
            or of iBOT.
        which: 'teacher' or 'student'.
    """
    if which not in checkpoint:
        return checkpoint.get('state_dict', checkpoint)
    return strip_prefix(without_ddp(checkpoint[which]), 'backbone.')


def to_official(state: StateDict) -> dict[str, Any]:
    """Convert to the authors' file: a full one if there is a head.

    Raises:
        CheckpointError: If the authors' file has no place for a tensor, or a
            full one lacks a head or the centre.
    """
    if is_linear(state):
        return dict(
            state_dict=rename(state, flipped(LINEAR_NAMES),
                              "The authors' linear classifier"))
    if any(key.startswith(('head.', 'teacher.head.')) for key in state):
        return _to_full(state)
    return _backbone_to(backbone_of(state))


def _from_full(checkpoint: dict[str, Any]) -> StateDict:
    missing = FULL - checkpoint.keys()
    if missing:
        raise CheckpointError(
            f'The full checkpoint lacks {name_keys(missing)}.')
    _refuse(checkpoint.keys() - FULL - NOT_WEIGHTS)
    state = {}
    for name, prefix in (('student', STUDENT), ('teacher', TEACHER)):
        network = without_ddp(checkpoint[name])
        _refuse([k for k in network if not k.startswith(PLACES[:2])])
        backbone = _backbone_from(strip_prefix(network, 'backbone.'))
        head = head_from(strip_prefix(network, 'head.'))
        state.update(add_prefix(backbone, f'{prefix}backbone.'))
        state.update(add_prefix(head, f'{prefix}head.'))
    return {**state, **add_prefix(checkpoint['dino_loss'], 'centering.')}


def without_ddp(state: StateDict) -> StateDict:
    """Remove the ``module.`` that DDP puts before names, where it is there."""
    return {key.removeprefix('module.'): v for key, v in state.items()}


def _to_full(state: StateDict) -> dict[str, Any]:
    checkpoint = dict(dino_loss=strip_prefix(state, 'centering.'))
    if 'center' not in checkpoint['dino_loss']:
        raise CheckpointError(
            "The checkpoint has no centering.center, which the authors' "
            f'training needs: {REMEDY}')
    leftover = [key for key in state if not key.startswith(PLACES)]
    if leftover:
        raise CheckpointError("The authors' full checkpoint has no place for "
                              f'{name_keys(leftover)}: {REMEDY}')
    for name, prefix in (('student', STUDENT), ('teacher', TEACHER)):
        head = strip_prefix(state, f'{prefix}head.')
        if not head:
            raise CheckpointError(f'The {name} has no head: {REMEDY}')
        head = head_to(head, REMEDY)
        backbone = _backbone_to(backbone_of(state, prefix))
        network = {
            **add_prefix(backbone, 'backbone.'),
            **add_prefix(head, 'head.')
        }
        # The authors wrap the student in DDP, and the teacher too where its
        # BatchNorm is synchronised.
        wrapped = name == 'student' or any(
            key.endswith('running_mean') for key in network)
        checkpoint[name] = add_prefix(network, 'module.' if wrapped else '')
    return checkpoint


def _backbone_from(state: StateDict) -> StateDict:
    """Convert a backbone to our names.

    Compared with timm's, the authors' XCiT has another name for the position
    embedding and one fused qkv layer in class attention.
    """
    state = {
        key.replace('pos_embeder.', 'pos_embed.'): value
        for key, value in state.items()
    }
    state = split_qkv(state, r'cls_attn_blocks\.\d+\.attn\.qkv')
    return from_timm(state)


def _backbone_to(backbone: StateDict) -> StateDict:
    state = to_timm(backbone)
    if family(backbone) != 'xcit':
        return state
    state = join_qkv(state, r'cls_attn_blocks\.\d+\.attn')
    return {
        re.sub('^pos_embed', 'pos_embeder', key): value
        for key, value in state.items()
    }


# In the authors' code an MLP of one layer is no nn.Sequential.
ONE_LAYER = (('mlp.weight', 'mlp.0.weight'), ('mlp.bias', 'mlp.0.bias'))
ORIGINAL = 'last_layer.parametrizations.weight.original1'


def head_from(head: StateDict) -> StateDict:
    """Convert a head to our names."""
    return rename(head, ONE_LAYER + WEIGHT_NORM, 'A head')


def head_to(head: StateDict, remedy: str) -> StateDict:
    """Convert a :class:`DINOHead` to the authors' names.

    Args:
        head: Tensors of the head.
        remedy: What to do if it is another head, for the error message.

    Raises:
        CheckpointError: If it is another head.
    """
    if ORIGINAL not in head:
        raise CheckpointError(
            "The authors' full checkpoint has no place for another head than "
            f'DINOHead. The tensors of the head are {name_keys(head, 4)}: '
            f'{remedy}')
    mlp = [key for key in head if key.startswith('mlp.')]
    single = all(key.startswith('mlp.0.') for key in mlp)
    names = ONE_LAYER + WEIGHT_NORM if single else WEIGHT_NORM
    return rename(head, flipped(names), 'A head')
