"""Our checkpoints, which all other formats are converted through.

A flat state dict: ``backbone.*`` and ``head.*`` of the student,
``teacher.backbone.*`` and ``teacher.head.*``, ``centering.center`` (1, K). A
file of a lone backbone holds it as both the student's and the teacher's, so
that it can be tested and trained from. A linear classifier is a
:class:`LinearProbe`'s one head, ``heads.0.*``, with or without
``network.backbone.*``.
"""
from typing import Dict, Union

from mmdino.weights.infer import backbone_cfg, check_tensors, head_cfg
from mmdino.weights.keys import (CheckpointError, StateDict, add_prefix,
                                 name_keys, strip_prefix)

STUDENT, TEACHER = '', 'teacher.'
LINEAR = {'heads.0.weight', 'heads.0.bias'}


def from_mmdino(checkpoint: Dict[str, Union[StateDict, dict]]) -> StateDict:
    """Take the state dict out of a checkpoint of MMEngine's and check it."""
    return checked(checkpoint.get('state_dict', checkpoint))


def to_mmdino(state: StateDict) -> StateDict:
    """Our own names need no change."""
    return dict(state)


def from_backbone(backbone: StateDict) -> StateDict:
    """A lone backbone as a checkpoint of ours."""
    return checked({
        **add_prefix(backbone, 'backbone.'),
        **add_prefix(backbone, 'teacher.backbone.')
    })


def backbone_of(state: StateDict, network: str = TEACHER) -> StateDict:
    """The backbone of the network with this prefix.

    Raises:
        CheckpointError: If the state has none.
    """
    backbone = strip_prefix(state, f'{network}backbone.')
    if not backbone:
        raise CheckpointError(
            f'There is no {network}backbone to convert among the tensors '
            f'{name_keys(state, 4)}.')
    return backbone


def is_linear(state: StateDict) -> bool:
    """Whether these are the weights of a linear classifier."""
    return state.keys() >= LINEAR


def with_network(linear: StateDict, state: StateDict) -> StateDict:
    """A :class:`LinearProbe` of a linear classifier and what it was for.

    Args:
        linear: The classifier's tensors, ``heads.0.*``.
        state: A checkpoint of ours with the teacher's backbone.

    Raises:
        CheckpointError: If ``linear`` is no linear classifier.
    """
    if not is_linear(linear):
        raise CheckpointError('Only a linear classifier needs a backbone '
                              'beside it: leave out --backbone.')
    return {**linear, **add_prefix(backbone_of(state), 'network.backbone.')}


def checked(state: StateDict) -> StateDict:
    """Return the state if every tensor is there and none is left over.

    Raises:
        CheckpointError: Otherwise; lists the tensors.
    """
    if is_linear(state):
        return _checked_probe(state)
    parts = {
        network + part: strip_prefix(state, f'{network}{part}.')
        for network in (STUDENT, TEACHER)
        for part in ('backbone', 'head')
    }
    known = {f'{p}.{key}' for p, tensors in parts.items() for key in tensors}
    leftover = state.keys() - known - {'centering.center'}
    if leftover:
        raise CheckpointError('mmdino has no place for '
                              f'{name_keys(leftover)}. Is --from right?')
    if not parts['backbone'] and not parts['teacher.backbone']:
        raise CheckpointError('The checkpoint has no backbone: its tensors '
                              f'are {name_keys(state) or "none"}.')
    for name, tensors in parts.items():
        if tensors:
            infer = head_cfg if name.endswith('head') else backbone_cfg
            check_tensors(tensors, infer(tensors), name)
    return state


def _checked_probe(state: StateDict) -> StateDict:
    network = strip_prefix(state, 'network.backbone.')
    leftover = state.keys() - LINEAR - add_prefix(network,
                                                  'network.backbone.').keys()
    if leftover:
        raise CheckpointError(
            "A linear classifier has one head, and no place for "
            f'{name_keys(leftover)}. Give --drop PREFIX to leave out others.')
    if network:
        check_tensors(network, backbone_cfg(network), 'backbone')
    return state
