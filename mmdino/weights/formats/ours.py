"""Our own checkpoints, the intermediate form of all conversions.

They are flat state dicts. The student has ``backbone.*`` and ``head.*``, the
teacher ``teacher.backbone.*`` and ``teacher.head.*``; the centre is
``centering.center`` (1, K). A :class:`DINOv2` may also have ``patch_head.*``
and ``patch_centering.center``. A single backbone is stored twice, as the
student's and as the teacher's, so that it can be tested and a training can
start from it. A linear classifier is the only head of a :class:`LinearProbe`,
``heads.0.*``, with or without its ``network.backbone.*``.
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
        CheckpointError: If a tensor belongs to none of our models, or there is
            no backbone and no linear classifier.
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

    Without a teacher, the frozen network of a probe takes its place.

    Raises:
        CheckpointError: If there is no such backbone.
    """
    backbone = strip_prefix(state, f'{network}backbone.')
    if not backbone and network == TEACHER:
        backbone = strip_prefix(state, f'{FROZEN}backbone.')
    if not backbone:
        raise CheckpointError(
            f'The checkpoint has no {network}backbone to convert: its tensors '
            f'are {name_keys(state, 4) or "none"}.')
    return backbone


def is_linear(state: Mapping[str, Any]) -> bool:
    """Return whether these are the weights of linear classifiers."""
    return state.keys() >= LINEAR


def with_network(linear: StateDict, state: StateDict) -> StateDict:
    """Join a linear classifier, ``heads.0.*``, and a network.

    Args:
        linear: State dict of a linear classifier.
        state: State dict of a checkpoint of ours, whose teacher's backbone is
            taken.

    Returns:
        State dict of a :class:`LinearProbe`.

    Raises:
        CheckpointError: If ``linear`` is no linear classifier, or ``state``
            has no such backbone.
    """
    if not is_linear(linear):
        raise CheckpointError('Only a linear classifier needs a backbone '
                              'beside it: leave out --backbone.')
    return {**linear, **add_prefix(backbone_of(state), 'network.backbone.')}


def check_parts(state: StateDict, network: dict | None = None) -> None:
    """Compare the backbones with their network config, or an inferred one.

    Without a config, the architecture is inferred from the tensors, and the
    heads are compared as well.

    Raises:
        CheckpointError: If tensors are missing, left over or of another shape.
            The message lists them.
    """
    for prefix in PARTS:
        part, name = strip_prefix(state, prefix), prefix.rstrip('.')
        if part and name.endswith('backbone'):
            # Any number of attention heads will do: no shape depends on it.
            cfg = network['backbone'] if network else backbone_cfg(part, 1)
            check_tensors(part, cfg, name)
        elif part and name.endswith('head') and not network:
            check_tensors(part, head_cfg(part), name)
