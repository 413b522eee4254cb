"""A pyramid on the last map of a plain ViT.

B images, D features; h x w patches; L levels.
"""
from typing import Sequence, Tuple

import torch.nn as nn
import torch.nn.functional as F
from mmengine.model import BaseModule
from timm.layers import LayerNorm2d
from torch import Tensor

from mmdino.registry import MODELS
from .rescaled_maps import RescaledMaps


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """The neck of ViTDet: every level from the backbone's last map alone.

    The map is rescaled, then a 1 x 1 and a 3 x 3 convolution follow, each
    with LayerNorm; levels beyond the rescaled ones take every second pixel of
    the one before (`Li et al. 2022 <https://arxiv.org/abs/2203.16527>`_,
    section 3).

    Args:
        embed_dim (int): Width D of the map.
        scales (Sequence[float]): Sides of the first levels by those of the
            map; patches of 16 pixels and (4, 2, 1, 1/2) give the strides
            4, 8, 16, 32.
        out_channels (int): Width of all levels.
        num_outs (int): Number L of levels, at least that of the scales.

    Raises:
        ValueError: If there are fewer levels than scales.
    """

    def __init__(self,
                 embed_dim: int,
                 scales: Sequence[float] = (4, 2, 1, .5),
                 out_channels: int = 256,
                 num_outs: int = 5) -> None:
        super().__init__()
        if num_outs < len(scales):
            raise ValueError(f'num_outs={num_outs} is less than the '
                             f'{len(scales)} scales: drop scales {scales}.')
        self.num_more = num_outs - len(scales)
        self.rescale = RescaledMaps(embed_dim, scales)
        self.convs = nn.ModuleList(
            _project(dim, out_channels) for dim in self.rescale.out_channels)

    def forward(self, inputs: Sequence[Tensor]) -> Tuple[Tensor, ...]:
        """Maps, the last one (B, D, h, w), to L levels.

        Each is (B, out_channels, s h, s w) with s its scale.
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
