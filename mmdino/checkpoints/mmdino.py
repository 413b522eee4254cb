"""Our checkpoints, which all other formats are converted through.

A flat state dict: ``backbone.*`` and ``head.*`` of the student,
``teacher.backbone.*`` and ``teacher.head.*``, ``centering.center`` (1, K). A
file of a lone backbone holds it as both the student's and the teacher's, so
that it can be tested and trained from.
"""
from typing import Dict, Union

from .architecture import backbone_cfg, check_tensors, head_cfg
from .names import CheckpointError, StateDict, below, listed, prefixed

STUDENT, TEACHER = '', 'teacher.'
LINEAR = {'head.fc.weight', 'head.fc.bias'}


def from_mmdino(checkpoint: Dict[str, Union[StateDict, dict]]) -> StateDict:
    """Take the state dict out of a checkpoint of MMEngine's and check it."""
    return checked(checkpoint.get('state_dict', checkpoint))


def to_mmdino(state: StateDict) -> StateDict:
    """Our own names need no change."""
    return dict(state)


def from_backbone(backbone: StateDict) -> StateDict:
    """A lone backbone as a checkpoint of ours."""
    return checked({
        **prefixed(backbone, 'backbone.'),
        **prefixed(backbone, 'teacher.backbone.')
    })


def backbone_of(state: StateDict, network: str = TEACHER) -> StateDict:
    """The backbone of the network with this prefix.

    Raises:
        CheckpointError: If the state has none.
    """
    backbone = below(state, f'{network}backbone.')
    if not backbone:
        raise CheckpointError(
            f'There is no {network}backbone to convert among the tensors '
            f'{listed(state, 4)}.')
    return backbone


def is_linear(state: StateDict) -> bool:
    """Whether these are the weights of a linear classifier."""
    return state.keys() == LINEAR


def checked(state: StateDict) -> StateDict:
    """Return the state if every tensor is there and none is left over.

    Raises:
        CheckpointError: Otherwise; lists the tensors.
    """
    if is_linear(state):
        return state
    parts = {
        network + part: below(state, f'{network}{part}.')
        for network in (STUDENT, TEACHER)
        for part in ('backbone', 'head')
    }
    known = {f'{p}.{key}' for p, tensors in parts.items() for key in tensors}
    leftover = state.keys() - known - {'centering.center'}
    if leftover:
        raise CheckpointError('mmdino has no place for '
                              f'{listed(leftover)}. Is --from right?')
    if not parts['backbone'] and not parts['teacher.backbone']:
        raise CheckpointError('The checkpoint has no backbone: its tensors '
                              f'are {listed(state) or "none"}.')
    for name, tensors in parts.items():
        if tensors:
            infer = head_cfg if name.endswith('head') else backbone_cfg
            check_tensors(tensors, infer(tensors), name)
    return state
