"""Renaming the keys of a state dict, each of them accounted for."""
import re
from typing import Dict, Iterable, Sequence, Tuple

from torch import Tensor

StateDict = Dict[str, Tensor]
Names = Sequence[Tuple[str, str]]


class CheckpointError(ValueError):
    """A checkpoint that is not what it should be."""


def rename(state: StateDict, names: Names, what: str) -> StateDict:
    """Rename every key by the first pair whose left side is the whole key.

    ``{n}`` stands for a number and ``{p}`` for the rest of a name, such as
    ``weight`` or ``bn.bias``; both are carried over.

    Args:
        state: Tensors by name.
        names: Pairs (old, new).
        what: What the state is, for the message.

    Raises:
        CheckpointError: If keys match no pair; lists them.
    """
    patterns = [(_pattern(old), new) for old, new in names]
    renamed, leftover = {}, []
    for key, tensor in state.items():
        found = ((p.fullmatch(key), new) for p, new in patterns)
        match, new = next((pair for pair in found if pair[0]), (None, ''))
        if match:
            renamed[new.format(**match.groupdict())] = tensor
        else:
            leftover.append(key)
    if leftover:
        raise CheckpointError(
            f'{what} has no place for {listed(leftover)}. Is --from right? '
            'Give --drop PREFIX to leave out what you do not need, such as a '
            'classifier.')
    return renamed


def flipped(names: Names) -> Names:
    """The pairs for the way back."""
    return [(new, old) for old, new in names]


def below(state: StateDict, prefix: str) -> StateDict:
    """The entries whose keys start with the prefix, without it."""
    return {
        key[len(prefix):]: value
        for key, value in state.items() if key.startswith(prefix)
    }


def prefixed(state: StateDict, prefix: str) -> StateDict:
    return {prefix + key: value for key, value in state.items()}


def listed(keys: Iterable[str], at_most: int = 12) -> str:
    """Name keys in a message."""
    keys = sorted(keys)
    rest = len(keys) - at_most
    tail = f' and {rest} more' if rest > 0 else ''
    return ', '.join(map(repr, keys[:at_most])) + tail


def _pattern(template: str) -> re.Pattern:
    escaped = re.escape(template)
    for name, pattern in (('n', r'\d+'), ('p', r'[\w.]+')):
        escaped = escaped.replace(rf'\{{{name}\}}', f'(?P<{name}>{pattern})')
    return re.compile(escaped)
