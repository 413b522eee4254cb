"""Renaming, splitting and joining of the keys of state dicts."""
import re
from collections.abc import Container, Iterable, Sequence

import torch
from torch import Tensor

StateDict = dict[str, Tensor]
Names = Sequence[tuple[str, str]]
# Prefixes of classifiers and other heads beside a backbone.
TASKS = ('head.', 'head_dist.', 'fc.', 'classifier.', 'pooler.', 'decoder.',
         'decode_head.', 'auxiliary_head.', 'neck.', 'last_layer.')


class CheckpointError(ValueError):
    """An error about a checkpoint that cannot be used as asked."""


def refuse_leftover(leftover: Iterable[str], whose: str) -> None:
    """Raise an error if names of an authors' file have no place in ours.

    Args:
        leftover: The names.
        whose: What files they are, such as "authors' iBOT".

    Raises:
        CheckpointError: If there is one.
    """
    leftover = [*leftover]
    if leftover:
        raise CheckpointError(f'The {whose} has no {name_keys(leftover)}. Is '
                              '--from right?')


def refuse_dinov3(state: StateDict) -> None:
    """Raise an error for a DINOv3 with the names of its authors or
    transformers.

    Raises:
        CheckpointError: If it is one. The message says where to get the
            weights in a supported format.
    """
    if {
            'storage_tokens', 'rope_embed.periods',
            'layer.0.attention.q_proj.weight'
    } & state.keys():
        raise CheckpointError(
            'The tensors have the names of a DINOv3 of its authors or of '
            'transformers. mmdino reads DINOv3 from timm: give timm:NAME as '
            'the checkpoint, with a NAME of '
            "timm.list_pretrained('*dinov3*').")


def rename(state: StateDict, names: Names, what: str) -> StateDict:
    """Rename every key by the first pair whose pattern matches the whole key.

    ``{n}`` stands for a number and ``{p}`` for the rest of a name, such as
    ``weight`` or ``bn.bias``; both are carried over.

    Args:
        state: Tensors by name.
        names: Pairs of old and new names.
        what: What the tensors are renamed for, for the error message.

    Raises:
        CheckpointError: If keys match no pair. The message lists them.
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
            f'{what} has no place for {name_keys(leftover)}. Is --from right?'
            f'{_advice(leftover)}')
    return renamed


def _advice(leftover: Sequence[str]) -> str:
    """Describe which options leave out the tensors that have no place."""
    tasks = sorted({key.partition('.')[0] + '.' for key in leftover})
    if {*tasks} <= {*TASKS}:
        return (f' Give --drop {" ".join(tasks)} to leave out the head of '
                'another task.')
    return (' If these are weights of a network that mmdino does not have, '
            'it may be one of timm\'s: give --config with a TimmBackbone.')


def flipped(names: Names) -> Names:
    """Return the pairs of the reverse renaming."""
    return [(new, old) for old, new in names]


def strip_prefix(state: StateDict, prefix: str) -> StateDict:
    """Return the entries whose keys start with the prefix, without it."""
    return {
        key[len(prefix):]: value
        for key, value in state.items() if key.startswith(prefix)
    }


def add_prefix(state: StateDict, prefix: str) -> StateDict:
    """Put the prefix before all keys."""
    return {prefix + key: value for key, value in state.items()}


def name_keys(keys: Iterable[str], at_most: int = 12) -> str:
    """List keys for a message: the first few, and how many more there are."""
    keys = sorted(keys)
    rest = len(keys) - at_most
    tail = f' and {rest} more' if rest > 0 else ''
    return ', '.join(map(repr, keys[:at_most])) + tail


def find_misfits(state: StateDict,
                 expected: StateDict,
                 shapes: str,
                 resized: Container[str] = ()) -> str:
    """Describe what keeps tensors from filling a module, '' if nothing does.

    Args:
        state: The tensors.
        expected: State dict of the module.
        shapes: Template for the two shapes, with a ``{}`` for each.
        resized: Names of tensors that the module resizes when it loads them:
            only the last axis has to agree.
    """
    misshapen = [
        f'{key} ' + shapes.format(tuple(state[key].shape), tuple(value.shape))
        for key, value in expected.items()
        if key in state and state[key].shape != value.shape
        and not (key in resized and state[key].shape[-1] == value.shape[-1])
    ]
    problems = (('missing', expected.keys() - state.keys()),
                ('left over', state.keys() - expected.keys()),
                ('of another shape', misshapen))
    return '; '.join(f'{word} {name_keys(keys, 6)}' for word, keys in problems
                     if keys)


def _pattern(template: str) -> re.Pattern:
    escaped = re.escape(template)
    for name, pattern in (('n', r'\d+'), ('p', r'[\w.]+')):
        escaped = escaped.replace(rf'\{{{name}\}}', f'(?P<{name}>{pattern})')
    return re.compile(escaped)


def split_qkv(state: StateDict, fused: str) -> StateDict:
    """Split the layers named ``fused`` into three.

    Args:
        state: Tensors by name; weights (3 D, D), biases (3 D, ).
        fused: Regular expression, such as ``layers\\.\\d+\\.attn\\.qkv``.
    """
    pattern = re.compile(rf'({fused})\.(weight|bias)')
    split = {}
    for key, tensor in state.items():
        match = pattern.fullmatch(key)
        if not match:
            split[key] = tensor
            continue
        parent = match[1].rpartition('.')[0]
        for part, piece in zip('qkv', tensor.chunk(3)):
            split[f'{parent}.{part}.{match[2]}'] = piece.clone()
    return split


def join_qkv(state: StateDict, parent: str) -> StateDict:
    r"""Undo :func:`split_qkv` in layers such as ``layers\.\d+\.attn``.

    Raises:
        CheckpointError: If one of the three is missing.
    """
    pattern = re.compile(rf'({parent})\.[qkv]\.(weight|bias)')
    joined, missing = {}, []
    for key, tensor in state.items():
        match = pattern.fullmatch(key)
        if not match:
            joined[key] = tensor
            continue
        trio = [f'{match[1]}.{part}.{match[2]}' for part in 'qkv']
        missing += [name for name in trio if name not in state]
        fused = f'{match[1]}.qkv.{match[2]}'
        if fused not in joined and not missing:
            joined[fused] = torch.cat([state[name] for name in trio])
    if missing:
        raise CheckpointError(
            f'The checkpoint lacks {name_keys(set(missing))}: it is damaged, '
            'or not of this format.')
    return joined


# Names of weight normalisation in torch: nn.utils.weight_norm, and
# nn.utils.parametrizations.weight_norm.
WEIGHT_NORM = (('{p}.weight_g', '{p}.parametrizations.weight.original0'),
               ('{p}.weight_v',
                '{p}.parametrizations.weight.original1'), ('{p}', '{p}'))
