"""Checkpoints of low-rank adapters, and the base weights they belong to.

``meta['adapters']`` of such a checkpoint has their ``scale`` and the ``base``
that the training started from: its ``name`` and the ``sha256`` of its tensors,
or None where it started from nothing.
"""
import hashlib
from typing import Any

import torch

from mmdino.weights.keys import CheckpointError, StateDict

ADAPTERS = ('lora_a', 'lora_b')
KEY = 'adapters'  # in meta


def is_adapter(key: str) -> bool:
    """Return whether a name is that of an adapter's tensor."""
    return str(key).rpartition('.')[2] in ADAPTERS


def merge(state: StateDict, scale: float) -> StateDict:
    """Merge adapters into the plain network: W + scale B A.

    Computed in float64, in the type of W.

    Args:
        state: With ``weight``, ``lora_a`` and ``lora_b`` of each layer that
            was adapted, under any prefix.
        scale: Of the update.

    Raises:
        CheckpointError: If one of the three is missing.
    """
    merged = {key: t for key, t in state.items() if not is_adapter(key)}
    for layer in {k.rpartition('.')[0] for k in state if is_adapter(k)}:
        names = [f'{layer}.{name}' for name in ('weight', *ADAPTERS)]
        missing = [name for name in names if name not in state]
        if missing:
            raise CheckpointError(
                f'The adapter of {layer} is incomplete: {missing} is missing.')
        weight, a, b = (state[name] for name in names)
        update = scale * (b.double() @ a.double())
        merged[names[0]] = (weight.double() + update).to(weight.dtype)
    return merged


def digest(tensors: StateDict) -> str:
    """Hash tensors and their names (SHA-256), whatever file holds them."""
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        found.update(flat.view(torch.uint8).numpy())
    return found.hexdigest()


def told_adapters(meta: dict[str, Any], state: StateDict,
                  path: str) -> dict[str, Any] | None:
    """Return what ``meta`` says of the adapters among the tensors, if any.

    Raises:
        CheckpointError: If there are some of which it tells nothing.
    """
    if not any(map(is_adapter, state)):
        return None
    told = meta.get(KEY)
    if not isinstance(told, dict) or 'scale' not in told:
        raise CheckpointError(
            f'{path} holds adapters (lora_a, lora_b) and does not tell their '
            'scale: take the checkpoint that the training wrote.')
    return told
