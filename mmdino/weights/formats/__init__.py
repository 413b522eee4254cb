"""From any format to any other, through ours."""
from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence

from mmdino.weights.formats.hf import from_hf, to_hf
from mmdino.weights.formats.mmpretrain import from_mmpretrain, to_mmpretrain
from mmdino.weights.formats.official import from_official, to_official
from mmdino.weights.formats.ours import (STUDENT, TEACHER, backbone_of,
                                         from_backbone, from_mmdino, to_mmdino)
from mmdino.weights.formats.timm import (from_timm, from_torchvision, to_timm,
                                         to_torchvision)
from mmdino.weights.keys import StateDict


class Format(NamedTuple):
    """The two ways between a format and ours."""
    from_: Callable[[Dict[str, Any]], StateDict]
    to_: Callable[[StateDict], Dict[str, Any]]


FORMATS = dict(
    official=Format(from_official, to_official),
    mmdino=Format(from_mmdino, to_mmdino),
    mmpretrain=Format(from_mmpretrain, to_mmpretrain),
    timm=Format(from_timm, to_timm),
    hf=Format(from_hf, to_hf),
    torchvision=Format(from_torchvision, to_torchvision))
PREFIXES = dict(teacher=TEACHER, student=STUDENT)


def convert(checkpoint: Dict[str, Any],
            source: str,
            target: str,
            which: Optional[str] = None,
            drop: Optional[Sequence[str]] = None) -> Dict[str, Any]:
    """Convert what a file holds into what another format's file holds.

    Args:
        checkpoint: What the file holds.
        source: Format of the checkpoint, a key of ``FORMATS``.
        target: Format of the result.
        which: 'teacher' or 'student': keep this network's backbone alone. By
            default all that the target has a place for; of one network, the
            teacher's.
        drop: Prefixes of tensors to leave out, such as 'fc.'.

    Raises:
        CheckpointError: If a tensor is missing, left over or of another
            shape, or the target has no such architecture.
    """
    state = FORMATS[source].from_(_without(checkpoint, drop or []))
    if which is not None:
        state = from_backbone(backbone_of(state, PREFIXES[which]))
    return FORMATS[target].to_(state)


def _without(checkpoint: Dict[str, Any],
             drop: Sequence[str]) -> Dict[str, Any]:
    if 'state_dict' in checkpoint:
        kept = _without(checkpoint['state_dict'], drop)
        return {**checkpoint, 'state_dict': kept}
    return {
        key: value
        for key, value in checkpoint.items()
        if not key.startswith(tuple(drop))
    }
