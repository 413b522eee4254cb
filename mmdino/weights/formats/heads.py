"""The projection head of DINO's authors, also used by iBOT and DINOv2.

Its last layer is weight-normalised in PyTorch's old way.
"""
from mmdino.weights.keys import (WEIGHT_NORM, CheckpointError, StateDict,
                                 flipped, name_keys, rename)

# An MLP of one layer is no Sequential there.
ONE_LAYER = (('mlp.weight', 'mlp.0.weight'), ('mlp.bias', 'mlp.0.bias'))
ORIGINAL = 'last_layer.parametrizations.weight.original1'


def head_from(head: StateDict) -> StateDict:
    """Convert a head to our names."""
    return rename(head, ONE_LAYER + WEIGHT_NORM, 'A head')


def head_to(head: StateDict, remedy: str) -> StateDict:
    """Convert a :class:`DINOHead` to the authors' names.

    Raises:
        CheckpointError: If it is another head; ends with the remedy.
    """
    if ORIGINAL not in head:
        raise CheckpointError(
            "The authors' full checkpoint has no place for another head than "
            f'DINOHead, its tensors are {name_keys(head, 4)}: {remedy}')
    mlp = [key for key in head if key.startswith('mlp.')]
    single = all(key.startswith('mlp.0.') for key in mlp)
    names = ONE_LAYER + WEIGHT_NORM if single else WEIGHT_NORM
    return rename(head, flipped(names), 'A head')
