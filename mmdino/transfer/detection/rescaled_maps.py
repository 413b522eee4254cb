"""Maps of one size, as a plain ViT yields them, to a pyramid's sizes.

B images, D features; h x w patches.
"""
from typing import Sequence, Tuple

import torch.nn as nn
from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class RescaledMaps(BaseModule):
    """Enlarge by transposed convolutions, reduce by maximum.

    The layers are those of ViTDet (`Li et al. 2022
    <https://arxiv.org/abs/2203.16527>`_, section 3). Before mmdet's ``FPN``
    it gives a pyramid on four blocks of a network without stages, such as
    XCiT.

    Args:
        embed_dim (int): Width D of the maps.
        scales (Sequence[float]): What each map's sides are multiplied with:
            4, 2, 1, 1/2 or 1/4.

    Attributes:
        out_channels (list[int]): Widths after it: D / 4 at scale 4, D / 2 at
            scale 2, else D.

    Raises:
        ValueError: If a scale is none of these.
    """

    def __init__(self, embed_dim: int, scales: Sequence[float]) -> None:
        super().__init__()
        self.out_channels = [embed_dim // max(1, int(s)) for s in scales]
        self.layers = nn.ModuleList(_rescale(embed_dim, s) for s in scales)

    def forward(self, maps: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Maps, each (B, D, h, w), to (B, out_channels, s h, s w)."""
        return tuple(
            layer(x) for layer, x in zip(self.layers, maps, strict=True))


def _rescale(dim: int, scale: float) -> nn.Module:
    if scale == 4:
        return nn.Sequential(
            _double(dim), LayerNorm2d(dim // 2), nn.GELU(), _double(dim // 2))
    if scale == 2:
        return _double(dim)
    if scale == 1:
        return nn.Identity()
    if scale in (1 / 2, 1 / 4):
        return nn.MaxPool2d(round(1 / scale))
    raise ValueError(f'A map is rescaled by 4, 2, 1, 1/2 or 1/4, got {scale}.')


def _double(dim: int) -> nn.Module:
    return nn.ConvTranspose2d(dim, dim // 2, kernel_size=2, stride=2)
