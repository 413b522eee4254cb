"""The two spellings of a weight-normalised layer's tensors.

``torch.nn.utils.weight_norm``, which the authors use, calls them
``weight_g`` and ``weight_v``; today's parametrization calls them
``parametrizations.weight.original0`` and ``original1``.
"""
from .names import StateDict

SPELLINGS = (('.weight_g', '.parametrizations.weight.original0'),
             ('.weight_v', '.parametrizations.weight.original1'))


def from_legacy(state: StateDict) -> StateDict:
    """``weight_g`` to ``original0``, ``weight_v`` to ``original1``."""
    return _respell(state, SPELLINGS)


def to_legacy(state: StateDict) -> StateDict:
    """``original0`` to ``weight_g``, ``original1`` to ``weight_v``."""
    return _respell(state, [(new, old) for old, new in SPELLINGS])


def _respell(state: StateDict, spellings) -> StateDict:
    renamed = {}
    for key, tensor in state.items():
        for old, new in spellings:
            if key.endswith(old):
                key = key.removesuffix(old) + new
                break
        renamed[key] = tensor
    return renamed
