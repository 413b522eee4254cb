"""The names that libraries give to the same tensors, and the ways between."""
import os.path as osp
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Sequence

from torch import Tensor

from mmdino.weights.formats import hf, mmpretrain, official, ours, timm
from mmdino.weights.infer import family, kind_of
from mmdino.weights.keys import (CheckpointError, StateDict, add_prefix,
                                 name_keys)


class Format(NamedTuple):
    """The two ways between a format, of what a file holds, and ours."""
    from_: Callable[[Dict[str, Any]], StateDict]
    to_: Callable[[StateDict], Dict[str, Any]]
    matches: Callable[[Mapping[str, Any]], bool]  # by the names
    places: Sequence[str]  # families of networks that the library has
    classifier: Sequence[str] = ()  # prefixes of what no use of ours needs
    pos_embed_mode: str = 'size'  # how position embeddings are resized
    # What its own files in a folder tell of a network.
    read_config: Callable[[str], dict] = lambda folder: {}


# In the order in which they are tried; the authors' names are timm's too.
FORMATS = dict(
    official=Format(
        official.from_official,
        official.to_official,
        official.is_official, ('vit', 'xcit', 'resnet'),
        pos_embed_mode='offset'),
    hf=Format(
        hf.from_hf,
        hf.to_hf,
        hf.is_hf, ('vit', ), ('pooler.', 'classifier.'),
        read_config=hf.read_config),
    timm=Format(timm.from_timm, timm.to_timm, timm.is_timm,
                ('vit', 'xcit', 'resnet', 'timm'),
                ('head.', 'fc_norm.', 'fc.'), 'antialias', timm.read_config),
    torchvision=Format(timm.rename_torchvision, timm.rename_torchvision,
                       timm.is_torchvision, ('resnet', ), ('fc.', )),
    mmdino=Format(
        ours.from_mmdino,
        dict,
        ours.is_mmdino, ('vit', 'xcit', 'resnet', 'timm', 'other', 'ours'),
        pos_embed_mode='offset'),
    mmpretrain=Format(mmpretrain.from_mmpretrain, mmpretrain.to_mmpretrain,
                      mmpretrain.is_mmpretrain,
                      ('vit', 'xcit', 'resnet', 'timm', 'other'),
                      ('head.', 'neck.')))
LONE = ('hf', 'timm', 'torchvision')  # their two ways are of a backbone
PREFIXES = dict(teacher=ours.TEACHER, student=ours.STUDENT)


def recognise(checkpoint: Mapping[str, Any],
              path: str,
              network: Optional[dict] = None) -> str:
    """Name the format of what a file holds, a key of ``FORMATS``.

    Args:
        checkpoint: What it holds.
        path: The file.
        network: Parts of a config, where one is given: a TimmBackbone has
            the names of timm's model, whichever these are.

    Raises:
        CheckpointError: If it holds no tensors at its top or in its
            ``state_dict``, or their names are nobody's.
    """
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, Mapping):
        raise CheckpointError(f'The state_dict in {path} is a '
                              f'{type(state).__name__}, not a dict.')
    name = next((n for n, f in FORMATS.items() if f.matches(state)), None)
    # The authors' and torchvision's names are timm's, too.
    if name in (None, 'official', 'torchvision') and state and not (
            official.FULL <= state.keys()) and (
                tells_timm(network) or timm.read_config(osp.dirname(path))):
        return 'timm'
    if name:
        return name
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
        source, target: Formats, keys of ``FORMATS``.
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
    state = to_ours(without(checkpoint, drop or []), source, network)
    return from_ours(select(state, which), target, network)


def to_ours(checkpoint: Dict[str, Any],
            source: str,
            network: Optional[dict] = None) -> StateDict:
    """Our state dict of what a file of the format ``source`` holds.

    timm's names of a ViT may be ours or a TimmBackbone's: ``network`` tells.
    """
    if source not in LONE:
        return FORMATS[source].from_(checkpoint)
    state = checkpoint.get('state_dict', checkpoint)
    if source == 'timm' and tells_timm(network):
        return ours.from_backbone(add_prefix(state, 'model.'))
    return ours.from_backbone(FORMATS[source].from_(state))


def tells_timm(network: Optional[dict]) -> bool:
    """Whether a network config tells a model of timm's."""
    backbone = (network or {}).get('backbone') or {}
    return backbone.get('type', '').endswith('TimmBackbone')


def select(state: StateDict, which: Optional[str]) -> StateDict:
    """The backbone of the 'teacher' or 'student' alone; None for all."""
    if which is None:
        return state
    return ours.from_backbone(ours.backbone_of(state, PREFIXES[which]))


def from_ours(state: StateDict,
              target: str,
              network: Optional[dict] = None) -> Dict[str, Any]:
    """What a file of the format ``target`` holds, of our state dict."""
    if not ours.is_linear(state) or any('backbone.' in key for key in state):
        ours.check_parts(state, network)
        _require_place(state, target, network)
    return FORMATS[target].to_(
        ours.backbone_of(state) if target in LONE else state)


def _require_place(state: StateDict, target: str,
                   network: Optional[dict]) -> None:
    """Refuse by name what the library of a format does not have."""
    if target == 'mmdino':
        return
    if any('neck.' in key for key in state):
        kind, what = None, 'the weights of a neck'
    elif network:
        kind, what = kind_of(network)
    else:
        kind = family(ours.backbone_of(state))
        what = f'a {kind}'
    if kind not in FORMATS[target].places:
        places = [name for name in FORMATS if kind in FORMATS[name].places]
        raise CheckpointError(f'{target} has no place for {what}: convert to '
                              f'{", ".join(places) or "mmdino"}.')


def without(checkpoint: Mapping[str, Any],
            prefixes: Sequence[str]) -> Dict[str, Any]:
    """What a file holds without the tensors whose names begin so."""
    if isinstance(checkpoint.get('state_dict'), Mapping):
        kept = without(checkpoint['state_dict'], prefixes)
        return {**checkpoint, 'state_dict': kept}
    return {
        key: value
        for key, value in checkpoint.items()
        if not key.startswith(tuple(prefixes))
    }
