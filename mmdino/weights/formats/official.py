"""The files that the authors published.

Four kinds: a backbone, a full checkpoint of a training (``student``,
``teacher``, ``dino_loss``, beside ``optimizer``, ``epoch``, ``args`` and
``fp16_scaler``), and a linear classifier (``module.linear.*`` below
``state_dict``). Of a full checkpoint the networks and the centre are taken;
the optimizer's state is in the order of the authors' parameter groups and is
not.
"""
import re
from typing import Any, Dict, Mapping

from mmdino.weights.formats.ours import (STUDENT, TEACHER, backbone_of,
                                         from_backbone, is_linear)
from mmdino.weights.formats.timm import VIT_NAMES, from_timm, is_timm, to_timm
from mmdino.weights.infer import family
from mmdino.weights.keys import (WEIGHT_NORM, CheckpointError, StateDict,
                                 add_prefix, flipped, join_qkv, name_keys,
                                 rename, split_qkv, strip_prefix)

FULL = {'student', 'teacher', 'dino_loss'}
NOT_WEIGHTS = {'optimizer', 'epoch', 'args', 'fp16_scaler'}
LINEAR_NAMES = (('module.linear.{p}', 'heads.0.{p}'), )
# An MLP of one layer is no Sequential there.
ONE_LAYER = (('mlp.weight', 'mlp.0.weight'), ('mlp.bias', 'mlp.0.bias'))
PLACES = ('backbone.', 'head.', 'teacher.backbone.', 'teacher.head.',
          'centering.')
REMEDY = 'give --which to convert one backbone alone.'
# A ViT of DINOv2's: theirs, ours. Those of DINO's ViT are among them.
DINOV2_NAMES = (
    ('mask_token', 'mask_token'),
    ('register_tokens', 'register_tokens'),
    ('blocks.{n}.ls1.gamma', 'layers.{n}.attn.gamma1.weight'),
    ('blocks.{n}.ls2.gamma', 'layers.{n}.ffn.gamma2.weight'),
    ('blocks.{n}.mlp.w12.{p}', 'layers.{n}.ffn.w12.{p}'),
    ('blocks.{n}.mlp.w3.{p}', 'layers.{n}.ffn.w3.{p}'),
    *VIT_NAMES,
)
# Beside the weights of a linear classifier.
LINEAR_STATE = {'epoch', 'optimizer', 'scheduler', 'best_acc'}


def is_official(state: Mapping[str, Any]) -> bool:
    """Whether names are those of the authors' files.

    A lone ViT has timm's names as well, but no classifier.
    """
    return (FULL <= state.keys() or 'module.linear.weight' in state
            or any(key.startswith('pos_embeder.') for key in state)
            or 'blocks.0.norm1.weight' in state and not is_timm(state))


def from_official(checkpoint: Dict[str, Any]) -> StateDict:
    """Our state dict of any of the authors' files."""
    if 'student' in checkpoint:
        return _from_full(checkpoint)
    state = checkpoint.get('state_dict', checkpoint)
    if 'module.linear.weight' in state:
        _refuse(checkpoint.keys() - LINEAR_STATE - {'state_dict'})
        return rename(state, LINEAR_NAMES, 'A linear classifier')
    return from_backbone(_backbone_from(state))


def lone_backbone(checkpoint: Dict[str, Any], which: str) -> StateDict:
    """One network's backbone as the authors' own model is filled with it.

    Args:
        checkpoint: What any of their files of networks holds.
        which: 'teacher' or 'student'.
    """
    if which not in checkpoint:
        return checkpoint.get('state_dict', checkpoint)
    return strip_prefix(_network(checkpoint[which]), 'backbone.')


def to_official(state: StateDict) -> Dict[str, Any]:
    """The authors' file: a full one if heads and centre are there."""
    if is_linear(state):
        return dict(
            state_dict=rename(state, flipped(LINEAR_NAMES),
                              "The authors' linear classifier"))
    if any(key.startswith(('head.', 'teacher.head.')) for key in state):
        return _to_full(state)
    return _backbone_to(backbone_of(state))


def from_dinov2_vit(state: StateDict) -> StateDict:
    """Our names for a lone ViT of the authors' DINOv2.

    In the files of a training the blocks are in chunks, ``blocks.1.13.``
    being block 13.
    """
    state = {
        re.sub(r'^blocks\.\d+\.(\d+\.)', r'blocks.\1', key): value
        for key, value in state.items()
    }
    return rename(state, DINOV2_NAMES, "mmdino's VisionTransformer")


def _from_full(checkpoint: Dict[str, Any]) -> StateDict:
    missing = FULL - checkpoint.keys()
    if missing:
        raise CheckpointError(
            f'The full checkpoint lacks {name_keys(missing)}.')
    _refuse(checkpoint.keys() - FULL - NOT_WEIGHTS)
    state = {}
    for name, prefix in (('student', STUDENT), ('teacher', TEACHER)):
        network = _network(checkpoint[name])
        _refuse([k for k in network if not k.startswith(PLACES[:2])])
        backbone = _backbone_from(strip_prefix(network, 'backbone.'))
        head = rename(
            strip_prefix(network, 'head.'), ONE_LAYER + WEIGHT_NORM, 'A head')
        state.update(add_prefix(backbone, f'{prefix}backbone.'))
        state.update(add_prefix(head, f'{prefix}head.'))
    return {**state, **add_prefix(checkpoint['dino_loss'], 'centering.')}


def _network(state: StateDict) -> StateDict:
    """One of a full checkpoint, without DDP's ``module.``."""
    return {key.removeprefix('module.'): v for key, v in state.items()}


def _to_full(state: StateDict) -> Dict[str, Any]:
    checkpoint = dict(dino_loss=strip_prefix(state, 'centering.'))
    if 'center' not in checkpoint['dino_loss']:
        raise CheckpointError(
            "There is no centering.center, which the authors' training "
            f'needs: {REMEDY}')
    leftover = [key for key in state if not key.startswith(PLACES)]
    if leftover:
        raise CheckpointError("The authors' full checkpoint has no place for "
                              f'{name_keys(leftover)}: {REMEDY}')
    for name, prefix in (('student', STUDENT), ('teacher', TEACHER)):
        head = strip_prefix(state, f'{prefix}head.')
        if not head:
            raise CheckpointError(f'The {name} has no head: {REMEDY}')
        if 'last_layer.parametrizations.weight.original1' not in head:
            raise CheckpointError(
                "The authors' full checkpoint has no place for another head "
                f'than DINOHead, its tensors are {name_keys(head, 4)}: '
                f'{REMEDY}')
        backbone = _backbone_to(backbone_of(state, prefix))
        network = {
            **add_prefix(backbone, 'backbone.'),
            **add_prefix(_head_to(head), 'head.')
        }
        # The authors wrap the student in DDP, and the teacher too where its
        # BatchNorm is synchronised.
        wrapped = name == 'student' or any(
            key.endswith('running_mean') for key in network)
        checkpoint[name] = add_prefix(network, 'module.' if wrapped else '')
    return checkpoint


def _backbone_from(state: StateDict) -> StateDict:
    """Ours; the authors' XCiT has one name and the fused qkv of its own."""
    state = {
        key.replace('pos_embeder.', 'pos_embed.'): value
        for key, value in state.items()
    }
    state = split_qkv(state, r'cls_attn_blocks\.\d+\.attn\.qkv')
    return from_timm(state)


def _backbone_to(backbone: StateDict) -> StateDict:
    state = to_timm(backbone)
    if family(backbone) != 'xcit':
        return state
    state = join_qkv(state, r'cls_attn_blocks\.\d+\.attn')
    return {
        re.sub('^pos_embed', 'pos_embeder', key): value
        for key, value in state.items()
    }


def _head_to(head: StateDict) -> StateDict:
    mlp = [key for key in head if key.startswith('mlp.')]
    single = all(key.startswith('mlp.0.') for key in mlp)
    names = ONE_LAYER + WEIGHT_NORM if single else WEIGHT_NORM
    return rename(head, flipped(names), 'A head')


def _refuse(leftover) -> None:
    if leftover:
        raise CheckpointError("The authors' checkpoints have no "
                              f'{name_keys(leftover)}. Is --from right?')
