"""Do a format's own implementation and ours compute the same?"""
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from mmdino.models.features import features
from mmdino.registry import MODELS
from .architecture import backbone_cfg, family
from .conversion import FORMATS
from .implementations import IMPLEMENTATIONS
from .mmdino import backbone_of, from_backbone
from .names import StateDict

# How each implementation resizes position embeddings.
POS_EMBED_MODES = dict(
    official='offset',
    mmdino='offset',
    mmpretrain='size',
    timm='antialias',
    hf='size')


class Difference(NamedTuple):
    """The largest difference of features, at images of a size."""
    size: Tuple[int, int]
    largest: float


def differences(state: StateDict,
                format_: str,
                num_heads: Optional[int] = None) -> Iterator[Difference]:
    """Compare features of random images of several sizes, in float32.

    Args:
        state: Tensors with our names, as ``convert`` gives for mmdino. The
            teacher's backbone is looked at.
        format_: The other implementation, a key of ``FORMATS``. A ViT of
            ours resizes its position embeddings as that one does.
        num_heads: Attention heads of a ViT, by default D / 64.

    Yields:
        Difference: For each size; the first is the stored one.
    """
    backbone = {
        key: value.float() if value.is_floating_point() else value
        for key, value in backbone_of(state).items()
    }
    cfg = backbone_cfg(backbone, num_heads)
    build = IMPLEMENTATIONS[family(backbone), format_]
    theirs = build(FORMATS[format_].to_(from_backbone(backbone)), cfg)
    ours = our_features(backbone, cfg, format_)
    generator = torch.Generator().manual_seed(0)
    for size in image_sizes(cfg):
        images = torch.randn(
            2, cfg.get('in_channels', 3), *size, generator=generator)
        with torch.no_grad():
            gap = (ours(images) - theirs(images)).abs().max()
        yield Difference(size, float(gap))


def our_features(backbone: StateDict, cfg: dict,
                 format_: str) -> Callable[[Tensor], Tensor]:
    """Our network, images (B, C, H, W) to features (B, D)."""
    if cfg['type'] == 'mmdino.VisionTransformer':
        cfg = dict(cfg, pos_embed_mode=POS_EMBED_MODES[format_])
    network = nn.ModuleDict(dict(backbone=MODELS.build(cfg)))
    network['backbone'].load_state_dict(backbone)
    if cfg['type'] == 'mmpretrain.ResNet':
        network['neck'] = MODELS.build(
            dict(type='mmpretrain.GlobalAveragePooling'))
    network.eval()
    return lambda images: features(network, images)


def image_sizes(cfg: Dict[str, Any]) -> Iterator[Tuple[int, int]]:
    """Stored, smaller, wide and larger: (H, W) in pixels."""
    side = cfg.get('img_size', 224)
    patch = cfg.get('patch_size', 16)
    half = side // 2 // patch * patch
    yield side, side
    yield half, half
    yield side - patch, side + patch
    yield side + 2 * patch, side + 2 * patch
