"""Checkpoints of low-rank adapters, and the base weights they belong to.

``meta['adapters']`` of such a checkpoint holds the ``scale`` of the adapters
and ``base``, the file that the training started from: its ``name`` and the
``sha256`` of its tensors. ``base`` is None if the training started from random
weights.
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

    The sum is computed in float64 and returned in the dtype of W.

    Args:
        state: State dict with ``weight``, ``lora_a`` and ``lora_b`` of each
            adapted layer, under any prefix.
        scale: Factor of the update B A.

    Raises:
        CheckpointError: If one of the three tensors of a layer is missing.
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
    """Return the SHA-256 of tensors and their names.

    It depends on names, dtypes, shapes and values, not on the file.
    """
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        found.update(flat.view(torch.uint8).numpy())
    return found.hexdigest()


def told_adapters(meta: dict[str, Any], state: StateDict,
                  path: str) -> dict[str, Any] | None:
    """Return what ``meta`` says of the adapters among the tensors, if any.

    Args:
        meta: Metadata of the checkpoint.
        state: Tensors of the checkpoint.
        path: File of the checkpoint, for the error message.

    Returns:
        The entry ``adapters`` of ``meta``, or None without adapters.

    Raises:
        CheckpointError: If there are adapters and ``meta`` has no such entry.
    """
    if not any(map(is_adapter, state)):
        return None
    told = meta.get(KEY)
    if not isinstance(told, dict) or 'scale' not in told:
        raise CheckpointError(
            f'{path} holds adapters (lora_a, lora_b) and does not tell their '
            'scale: use the checkpoint as the training wrote it.')
    return told
