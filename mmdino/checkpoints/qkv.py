"""Query, key and value in one linear layer or in three."""
import re
from typing import Sequence

import torch

from .names import CheckpointError, StateDict, listed


def split_qkv(state: StateDict,
              fused: str,
              parts: Sequence[str] = ('q', 'k', 'v')) -> StateDict:
    """Split the layers named ``fused`` into three beside them.

    Args:
        state: Tensors by name; weights (3 D, D), biases (3 D, ).
        fused: Regular expression of the layers, such as
            ``layers\\.\\d+\\.attn\\.qkv``.
        parts: New last names of query, key and value.
    """
    pattern = re.compile(rf'({fused})\.(weight|bias)')
    split = {}
    for key, tensor in state.items():
        match = pattern.fullmatch(key)
        if not match:
            split[key] = tensor
            continue
        parent = match[1].rpartition('.')[0]
        for part, piece in zip(parts, tensor.chunk(3)):
            split[f'{parent}.{part}.{match[2]}'] = piece.clone()
    return split


def join_qkv(state: StateDict,
             parent: str,
             parts: Sequence[str] = ('q', 'k', 'v')) -> StateDict:
    """Undo :func:`split_qkv`.

    Args:
        state: Tensors by name.
        parent: Regular expression of what holds the three layers, such as
            ``layers\\.\\d+\\.attn``.
        parts: Last names of query, key and value.

    Raises:
        CheckpointError: If one of the three is missing.
    """
    pattern = re.compile(rf'({parent})\.({"|".join(parts)})\.(weight|bias)')
    joined, missing = {}, []
    for key, tensor in state.items():
        match = pattern.fullmatch(key)
        if not match:
            joined[key] = tensor
            continue
        trio = [f'{match[1]}.{part}.{match[3]}' for part in parts]
        missing += [name for name in trio if name not in state]
        fused = f'{match[1]}.qkv.{match[3]}'
        if fused not in joined and not missing:
            joined[fused] = torch.cat([state[name] for name in trio])
    if missing:
        raise CheckpointError(
            f'The checkpoint lacks {listed(set(missing))}: it is damaged, or '
            'not of this format.')
    return joined
