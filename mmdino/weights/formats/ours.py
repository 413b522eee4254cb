"""Our own checkpoints, the intermediate form of all conversions.

A flat state dict: ``backbone.*`` and ``head.*`` of the student,
``teacher.backbone.*`` and ``teacher.head.*``, ``centering.center`` (1, K); of
a :class:`DINOv2` perhaps ``patch_head.*`` and ``patch_centering.center``. A
file of a lone backbone holds it as both the student's and the teacher's, so
that it can be tested and trained from. A linear classifier is a
:class:`LinearProbe`'s one head, ``heads.0.*``, with or without
``network.backbone.*``.
"""
from collections.abc import Mapping
from typing import Any

from mmdino.weights.infer import (backbone_cfg, check_tensors, head_cfg,
                                  is_backbone)
from mmdino.weights.keys import (CheckpointError, StateDict, add_prefix,
                                 name_keys, strip_prefix)

STUDENT, TEACHER, FROZEN = '', 'teacher.', 'network.'
LINEAR = {'heads.0.weight', 'heads.0.bias'}
PARTS = tuple(f'{network}{part}.' for network in (STUDENT, TEACHER, FROZEN)
              for part in ('backbone', 'neck', 'head', 'patch_head'))
OTHERS = ('centering.', 'patch_centering.', 'predictor.', 'class_projector.',
          'patch_projector.', 'heads.')


def is_mmdino(checkpoint: Mapping[str, Any]) -> bool:
    """Return whether names are those of our models or of a single backbone."""
    state = checkpoint.get('state_dict', checkpoint)
    return any(key.startswith((TEACHER, FROZEN, 'heads.'))
               for key in state) or is_backbone(state)


def from_mmdino(checkpoint: dict[str, Any]) -> StateDict:
    """Return our state dict of any of our files.

    Raises:
        CheckpointError: If a tensor has no place in our models, or there is
            no network among them.
    """
    state = checkpoint.get('state_dict', checkpoint)
    told = checkpoint.get('meta', {}).get('network')
    if is_backbone(state) or told and not any(
            key.startswith(PARTS + OTHERS) for key in state):
        return from_backbone(state)
    leftover = [key for key in state if not key.startswith(PARTS + OTHERS)]
    if leftover:
        has_head = any('_head.' in key for key in leftover)
        remedy = ('A segmentor or detector is loaded whole, by load_from=FILE '
                  'in its config.' if has_head else 'Is --from right?')
        raise CheckpointError('mmdino has no place for '
                              f'{name_keys(leftover)}. {remedy}')
    if not is_linear(state) and not any('backbone.' in key for key in state):
        raise CheckpointError('The checkpoint has no backbone: its tensors '
                              f'are {name_keys(state) or "none"}.')
    return dict(state)


def from_backbone(backbone: StateDict) -> StateDict:
    """Turn a single backbone into a checkpoint of ours."""
    return {
        **add_prefix(backbone, 'backbone.'),
        **add_prefix(backbone, 'teacher.backbone.')
    }


def backbone_of(state: StateDict, network: str = TEACHER) -> StateDict:
    """Return the backbone of the network with this prefix.

    A frozen network's stands for the teacher's.

    Raises:
        CheckpointError: If the state has none.
    """
    backbone = strip_prefix(state, f'{network}backbone.')
    if not backbone and network == TEACHER:
        backbone = strip_prefix(state, f'{FROZEN}backbone.')
    if not backbone:
        raise CheckpointError(
            f'There is no {network}backbone to convert among the tensors, '
            f'which are {name_keys(state, 4) or "none: it is empty"}.')
    return backbone


def is_linear(state: Mapping[str, Any]) -> bool:
    """Return whether these are the weights of linear classifiers."""
    return state.keys() >= LINEAR


def with_network(linear: StateDict, state: StateDict) -> StateDict:
    """Join a linear classifier, ``heads.0.*``, and a network.

    The result is a :class:`LinearProbe`'s.

    Its backbone is the teacher's of ``state``, a checkpoint of ours.

    Raises:
        CheckpointError: If ``linear`` is no linear classifier.
    """
    if not is_linear(linear):
        raise CheckpointError('Only a linear classifier needs a backbone '
                              'beside it: leave out --backbone.')
    return {**linear, **add_prefix(backbone_of(state), 'network.backbone.')}


def check_parts(state: StateDict, network: dict | None = None) -> None:
    """Compare the backbones with their network config, or an inferred one.

    Without the config the architecture is read off the tensors, and the heads
    are looked at, too: all of a foreign file has its place.

    Raises:
        CheckpointError: If a tensor is missing, left over or of another
            shape; lists them.
    """
    for prefix in PARTS:
        part, name = strip_prefix(state, prefix), prefix.rstrip('.')
        if part and name.endswith('backbone'):
            # No shape depends on the number of heads.
            cfg = network['backbone'] if network else backbone_cfg(part, 1)
            check_tensors(part, cfg, name)
        elif part and name.endswith('head') and not network:
            check_tensors(part, head_cfg(part), name)
