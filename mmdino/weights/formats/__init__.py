"""Conversion between the parameter names of libraries and ours."""
import os.path as osp
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from mmdino.weights.formats import (dinov2, hf, ibot, mmpretrain, official,
                                    ours, timm)
from mmdino.weights.formats.format import Format, adapt_mask_token
from mmdino.weights.infer import (LAYER_SCALE, REGISTERS, SWIGLU, dinov2_parts,
                                  family, kind_of, name_vit)
from mmdino.weights.keys import (CheckpointError, StateDict, add_prefix,
                                 name_keys, refuse_dinov3)

# In the order in which they are tried: a file may match several, since the
# authors' names of a ViT are timm's, too.
FORMATS = dict(
    dinov2=Format(
        dinov2.from_dinov2,
        dinov2.to_dinov2,
        dinov2.is_dinov2, ('dinov2', ),
        pos_embed_modes=('offset', 'antialias'),
        parts=(REGISTERS, LAYER_SCALE, SWIGLU),
        mask_token=lambda parts: True),
    ibot=Format(
        ibot.from_ibot,
        ibot.to_ibot,
        ibot.is_ibot, ('vit', 'dinov2'),
        pos_embed_modes=('offset', 'offset'),
        parts=(LAYER_SCALE, ),
        mask_token=lambda parts: None),
    official=Format(
        official.from_official,
        official.to_official,
        official.is_official, ('vit', 'xcit', 'resnet'),
        pos_embed_modes=('offset', 'offset')),
    hf=Format(
        hf.from_hf,
        hf.to_hf,
        hf.is_hf, ('vit', 'dinov2'), ('pooler.', 'classifier.'),
        pos_embed_modes=('size', 'antialias'),
        read_config=hf.read_config,
        parts=(REGISTERS, LAYER_SCALE, SWIGLU),
        mask_token=hf.mask_token,
        needs_layer_scale=True),
    timm=Format(
        timm.from_timm,
        timm.to_timm,
        timm.is_timm, ('vit', 'dinov2', 'xcit', 'resnet', 'timm'),
        ('head.', 'fc_norm.', 'fc.'),
        pos_embed_modes=('antialias', 'antialias'),
        read_config=timm.read_config,
        parts=(REGISTERS, LAYER_SCALE, SWIGLU)),
    torchvision=Format(timm.rename_torchvision, timm.rename_torchvision,
                       timm.is_torchvision, ('resnet', ), ('fc.', )),
    mmdino=Format(
        ours.from_mmdino,
        dict,
        ours.is_mmdino,
        ('vit', 'dinov2', 'xcit', 'resnet', 'timm', 'other', 'ours'),
        pos_embed_modes=('offset', 'antialias'),
        parts=(REGISTERS, LAYER_SCALE, SWIGLU),
        mask_token=lambda parts: None),
    mmpretrain=Format(
        mmpretrain.from_mmpretrain,
        mmpretrain.to_mmpretrain,
        mmpretrain.is_mmpretrain,
        ('vit', 'dinov2', 'xcit', 'resnet', 'timm', 'other'),
        ('head.', 'neck.'),
        parts=(LAYER_SCALE, SWIGLU)))
# Formats whose conversions take the tensors of a lone backbone.
LONE = ('hf', 'timm', 'torchvision')
PREFIXES = dict(teacher=ours.TEACHER, student=ours.STUDENT)


def recognise(checkpoint: Mapping[str, Any],
              path: str,
              network: dict | None = None) -> str:
    """Return the format of a file's content, a key of ``FORMATS``.

    Args:
        checkpoint: Content of the file.
        path: The file.
        network: Model config with ``backbone``, if one is given. If that is a
            TimmBackbone, the names may be those of any timm model.

    Raises:
        CheckpointError: If there are no tensors at the top level or in
            ``state_dict``, or their names are those of no known format.
    """
    state = checkpoint.get('state_dict', checkpoint)
    if not isinstance(state, Mapping):
        raise CheckpointError(f'The state_dict in {path} is a '
                              f'{type(state).__name__}, not a dict.')
    refuse_dinov3(state)
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
            f'{path} holds no tensors at the top level or in state_dict, but '
            f'{name_keys(map(str, state), 6)}: save the state dict itself, '
            'as dict(state_dict=model.state_dict()).')
    raise CheckpointError(
        f'The names of the tensors in {path} are those of no format that is '
        f'known ({", ".join(FORMATS)}): {name_keys(state, 4)}. Rename them, '
        'or convert the file with `python tools/convert_checkpoint.py SOURCE '
        'TARGET --from FORMAT --to mmdino`.')


def convert(checkpoint: dict[str, Any],
            source: str,
            target: str,
            which: str | None = None,
            drop: Sequence[str] | None = None,
            network: dict | None = None) -> dict[str, Any]:
    """Convert the content of a file to that of another format.

    Args:
        checkpoint: Content of the file.
        source: Format of ``checkpoint``, a key of ``FORMATS``.
        target: Format of the result, a key of ``FORMATS``.
        which: 'teacher' or 'student': convert the backbone of this network
            only. By default everything that the target supports is converted;
            if that is a single network, the teacher's.
        drop: Prefixes of tensors to leave out, such as 'fc.'.
        network: Network config of the file, to check the tensors against; by
            default it is inferred from the tensors.

    Raises:
        CheckpointError: If a tensor is missing, left over or of another
            shape, or the target has no such architecture.
    """
    state = to_ours(without(checkpoint, drop or []), source, network)
    state, network = adapt(select(state, which), network, target)
    return from_ours(state, target, network)


def adapt(state: StateDict, network: dict | None,
          target: str) -> tuple[StateDict, dict | None]:
    """Adapt our state dict and network config to what a format supports.

    See :func:`adapt_mask_token`; the log says what was changed.
    """
    if ours.is_linear(state) or not any('backbone.' in key for key in state):
        return state, network
    backbone = ours.backbone_of(state)
    if network and kind_of(network)[0] != 'dinov2' or (family(backbone)
                                                       != 'dinov2'):
        return state, network
    state, network = adapt_mask_token(state, network, target, FORMATS[target])
    if target == 'timm' and REGISTERS in dinov2_parts(backbone):
        print_log(
            'timm stores the sum of the class token and its position '
            'embedding in place of the two. The features are the same, but '
            'converting back cannot separate the two again.',
            logger='current')
    return state, network


def to_ours(checkpoint: dict[str, Any],
            source: str,
            network: dict | None = None) -> StateDict:
    """Convert the content of a file of the format ``source`` to our state
    dict.

    A ViT with timm's names becomes a VisionTransformer of ours, or a
    TimmBackbone if ``network``, a config with ``backbone``, says so.
    """
    if source not in LONE:
        return FORMATS[source].from_(checkpoint)
    state = checkpoint.get('state_dict', checkpoint)
    if source == 'timm' and tells_timm(network):
        return ours.from_backbone(add_prefix(state, 'model.'))
    return ours.from_backbone(FORMATS[source].from_(state))


def tells_timm(network: dict | None) -> bool:
    """Return whether a network config describes a model of timm."""
    backbone = (network or {}).get('backbone') or {}
    return backbone.get('type', '').endswith('TimmBackbone')


def told_by_timm(state: StateDict, path: str,
                 network: dict | None) -> tuple[dict | None, Sequence[str]]:
    """Return what timm's config.json beside a file says.

    Args:
        state: Tensors of the file.
        path: The file.
        network: Model config with ``backbone``, if one is given; it is
            returned as it is.

    Returns:
        The network config, a TimmBackbone if no network of ours has these
        tensors and None if nothing is known, and the prefixes of the
        classifier's tensors.
    """
    told = timm.read_config(osp.dirname(path))
    unused = FORMATS['timm'].classifier
    if (network or {}).get('backbone') or 'model_name' not in told:
        return network, unused
    lone = without(state, unused)
    if timm.fits_other(lone) or timm.fits_vit(lone, told):
        return network, unused
    return dict(backbone=dict(type='TimmBackbone')), told['classifier']


def select(state: StateDict, which: str | None) -> StateDict:
    """Select the backbone of the 'teacher' or 'student'; None keeps all."""
    if which is None:
        return state
    return ours.from_backbone(ours.backbone_of(state, PREFIXES[which]))


def from_ours(state: StateDict,
              target: str,
              network: dict | None = None) -> dict[str, Any]:
    """Convert our state dict to the content of a file of the format
    ``target``."""
    if not ours.is_linear(state) or any('backbone.' in key for key in state):
        ours.check_parts(state, network)
        _require_place(state, target, network)
    return FORMATS[target].to_(
        ours.backbone_of(state) if target in LONE else state)


def _require_place(state: StateDict, target: str,
                   network: dict | None) -> None:
    """Raise an error if a format's library lacks a part of the network."""
    if target == 'mmdino':
        return
    parts = ()
    if any('neck.' in key for key in state):
        kind, what = None, 'the weights of a neck'
    elif network:
        kind, what = kind_of(network)
    else:
        kind = family(ours.backbone_of(state))
        what = f'a {kind}'
    if kind == 'dinov2':
        parts = dinov2_parts(ours.backbone_of(state))
        _, what = name_vit(ours.backbone_of(state))
    if not FORMATS[target].has_place(kind, parts):
        places = [
            name for name, format_ in FORMATS.items()
            if format_.has_place(kind, parts)
        ]
        raise CheckpointError(f'{target} has no place for {what}: convert to '
                              f'{", ".join(places) or "mmdino"}.')


def without(checkpoint: Mapping[str, Any],
            prefixes: Sequence[str]) -> dict[str, Any]:
    """Drop the tensors whose names begin with a prefix."""
    if isinstance(checkpoint.get('state_dict'), Mapping):
        kept = without(checkpoint['state_dict'], prefixes)
        return {**checkpoint, 'state_dict': kept}
    return {
        key: value
        for key, value in checkpoint.items()
        if not key.startswith(tuple(prefixes))
    }
