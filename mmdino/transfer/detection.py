"""Feature pyramids on a plain ViT, for MMDetection.

This module can be imported without MMDetection.

Letters: B images, D features, (h, w) the patch grid, L levels.
"""
from collections.abc import Sequence

import torch.nn as nn
import torch.nn.functional as F
from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class RescaledMaps(BaseModule):
    """Enlarge maps by transposed convolutions, reduce them by max pooling.

    The layers are those of ViTDet (`Li et al. 2022
    <https://arxiv.org/abs/2203.16527>`_, section 3). Put before mmdet's
    ``FPN``, it makes a pyramid from four blocks of a network without stages,
    such as XCiT.

    Args:
        embed_dim: Width D of the maps.
        scales: Factor for height and width of each map: 4, 2, 1, 1/2 or 1/4.

    Attributes:
        out_channels (list[int]): Widths of the rescaled maps: D / 4 at scale
            4, D / 2 at scale 2, and D otherwise.

    Raises:
        ValueError: If a scale is none of these.
    """

    def __init__(self, embed_dim: int, scales: Sequence[float]) -> None:
        super().__init__()
        self.out_channels = [embed_dim // max(1, int(s)) for s in scales]
        self.layers = nn.ModuleList(_rescale(embed_dim, s) for s in scales)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Rescale maps (B, D, h, w) to (B, out_channels, s h, s w)."""
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
    raise ValueError(f'scales must be 4, 2, 1, 1/2 or 1/4, got {scale}.')


def _double(dim: int) -> nn.Module:
    return nn.ConvTranspose2d(dim, dim // 2, kernel_size=2, stride=2)


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """The neck of ViTDet: all levels from the backbone's last map.

    The map is rescaled once for each scale, followed by a 1 x 1 and a 3 x 3
    convolution, each with LayerNorm. Further levels take every second pixel of
    the level before (`Li et al. 2022 <https://arxiv.org/abs/2203.16527>`_,
    section 3).

    Args:
        embed_dim: Width D of the map.
        scales: Factors for height and width of the map in the first levels;
            with patches of 16 pixels, (4, 2, 1, 1/2) gives the strides 4, 8,
            16 and 32.
        out_channels: Width of all levels.
        num_outs: Number of levels L, at least the number of scales.

    Raises:
        ValueError: If there are fewer levels than scales, or a scale is not
            4, 2, 1, 1/2 or 1/4.
    """

    def __init__(self,
                 embed_dim: int,
                 scales: Sequence[float] = (4, 2, 1, .5),
                 out_channels: int = 256,
                 num_outs: int = 5) -> None:
        super().__init__()
        if num_outs < len(scales):
            raise ValueError(f'num_outs={num_outs} is less than the '
                             f'{len(scales)} scales {tuple(scales)}: raise '
                             'num_outs or leave out scales.')
        self.num_more = num_outs - len(scales)
        self.rescale = RescaledMaps(embed_dim, scales)
        self.convs = nn.ModuleList(
            _project(dim, out_channels) for dim in self.rescale.out_channels)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute L levels from the last map (B, D, h, w).

        Each is (B, out_channels, s h, s w), where s is its scale.
        """
        maps = self.rescale([inputs[-1]] * len(self.convs))
        levels = [conv(x) for conv, x in zip(self.convs, maps)]
        for _ in range(self.num_more):
            levels.append(F.max_pool2d(levels[-1], kernel_size=1, stride=2))
        return tuple(levels)


def _project(dim: int, out_channels: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(dim, out_channels, 1, bias=False), LayerNorm2d(out_channels),
        nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
        LayerNorm2d(out_channels))
