"""The names that libraries give to the same tensors, and the ways between."""
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence

from torch import Tensor

from mmdino.weights.formats import hf, mmpretrain, official, ours, timm
from mmdino.weights.keys import CheckpointError, StateDict, name_keys


class Format(NamedTuple):
    """The two ways between a format and ours.

    Attributes:
        from_: What a file holds to our state dict.
        to_: Our state dict to what a file holds.
        matches: Whether what a file holds is in this format, by its names.
        classifier: Beginnings of the names of what no use of ours needs.
        pos_embed_mode: How the library resizes position embeddings.
    """
    from_: Callable[[Dict[str, Any]], StateDict]
    to_: Callable[[StateDict], Dict[str, Any]]
    matches: Callable[[Mapping[str, Any]], bool]
    classifier: Sequence[str] = ()
    pos_embed_mode: str = 'size'


# In the order in which they are tried; the authors' names are timm's too.
FORMATS = dict(
    official=Format(
        official.from_official,
        official.to_official,
        official.is_official,
        pos_embed_mode='offset'),
    hf=Format(hf.from_hf, hf.to_hf, hf.is_hf, ('pooler.', 'classifier.')),
    timm=Format(timm.from_timm, timm.to_timm, timm.is_timm,
                ('head.', 'fc_norm.', 'fc.'), 'antialias'),
    torchvision=Format(timm.from_torchvision, timm.to_torchvision,
                       timm.is_torchvision, ('fc.', )),
    mmdino=Format(
        ours.from_mmdino,
        ours.to_mmdino,
        ours.is_mmdino,
        pos_embed_mode='offset'),
    mmpretrain=Format(mmpretrain.from_mmpretrain, mmpretrain.to_mmpretrain,
                      mmpretrain.is_mmpretrain, ('head.', 'neck.')))
PREFIXES = dict(teacher=ours.TEACHER, student=ours.STUDENT)


def recognise(checkpoint: Mapping[str, Any], path: str) -> str:
    """Name the format of what a file holds, a key of ``FORMATS``.

    Args:
        checkpoint: What it holds.
        path: Of the file, for the errors.

    Raises:
        CheckpointError: If it holds no tensors at its top or in its
            ``state_dict``, or their names are nobody's.
    """
    for name, format_ in FORMATS.items():
        if format_.matches(checkpoint):
            return name
    state = checkpoint.get('state_dict', checkpoint)
    if not state:
        raise CheckpointError(f'{path} is empty: it holds no tensor.')
    nested = [k for k, v in state.items() if isinstance(v, Mapping)]
    if nested or not any(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(
            f'{path} holds no tensors where they are looked for, but '
            f'{name_keys(map(str, state), 6)}: save the state dict itself, '
            'as dict(state_dict=model.state_dict()).')
    raise CheckpointError(
        f'The names in {path} are those of no format that is known '
        f'({", ".join(FORMATS)}): {name_keys(state, 4)}. Rename them, or '
        'convert the file with `python tools/convert_checkpoint.py SOURCE '
        'TARGET --from FORMAT --to mmdino`.')


def convert(checkpoint: Dict[str, Any],
            source: str,
            target: str,
            which: Optional[str] = None,
            drop: Optional[Sequence[str]] = None,
            network: Optional[dict] = None) -> Dict[str, Any]:
    """Convert what a file holds into what another format's file holds.

    Args:
        checkpoint: What the file holds.
        source: Format of the checkpoint, a key of ``FORMATS``.
        target: Format of the result.
        which: 'teacher' or 'student': keep this network's backbone alone. By
            default all that the target has a place for; of one network, the
            teacher's.
        drop: Prefixes of tensors to leave out, such as 'fc.'.
        network: Network config that the file tells, to compare with; by
            default it is read off the tensors.

    Raises:
        CheckpointError: If a tensor is missing, left over or of another
            shape, or the target has no such architecture.
    """
    state = FORMATS[source].from_(without(checkpoint, drop or []))
    if which is not None:
        state = ours.from_backbone(ours.backbone_of(state, PREFIXES[which]))
    if not ours.is_linear(state) or any('backbone.' in key for key in state):
        ours.check_parts(state, network)
    return FORMATS[target].to_(state)


def without(checkpoint: Mapping[str, Any],
            prefixes: Sequence[str]) -> Dict[str, Any]:
    """What a file holds without the tensors whose names begin so."""
    if 'state_dict' in checkpoint:
        kept = without(checkpoint['state_dict'], prefixes)
        return {**checkpoint, 'state_dict': kept}
    return {
        key: value
        for key, value in checkpoint.items()
        if not key.startswith(tuple(prefixes))
    }
