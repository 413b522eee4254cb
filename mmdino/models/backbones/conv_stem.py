"""A convolutional patch embedding for vision transformers.

Letters: B images, C channels, D features, (h, w) the patch grid.
"""
import torch.nn as nn
from mmcv.cnn import build_norm_layer
from mmengine.model import BaseModule
from mmengine.utils import to_2tuple
from torch import Tensor

from mmdino.registry import MODELS


@MODELS.register_module()
class ConvStem(BaseModule):
    """Stride-2 convolutions that replace the patch projection of a ViT.

    Each halving of the resolution has a 3 x 3 convolution, a norm and a ReLU.
    The last of these convolutions has ``embed_dims`` channels, each one before
    half as many as the next. A 1 x 1 convolution follows. Batch normalisation
    spreads the tokens of different images from the first step on; without it,
    a small network may not leave the uniform output.

    Source: Xiao et al. 2021, "Early convolutions help transformers see
    better" (arXiv 2106.14881), section 4.

    Args:
        in_channels: Channels of the images.
        embed_dims: D, the width of a token.
        patch_size: Side of a patch in pixels: 2, 4, 8, ...
        input_size: Height and width in pixels of the images for which
            ``init_out_size``, the patch grid that mmpretrain's ViT reads, is
            computed.
        norm_cfg: Config of the norm after each 3 x 3 convolution.

    Raises:
        ValueError: If ``patch_size`` is not 2, 4, 8, ..., or ``embed_dims``
            cannot be halved for every convolution.
    """

    def __init__(self,
                 in_channels: int = 3,
                 embed_dims: int = 768,
                 patch_size: int = 16,
                 input_size: int | None = None,
                 norm_cfg: dict = dict(type='BN'),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        steps = patch_size.bit_length() - 1
        if steps < 1 or patch_size != 2**steps:
            raise ValueError('ConvStem halves the resolution several times: '
                             'patch_size must be a power of 2, from 2, got '
                             f'{patch_size}.')
        if embed_dims % 2**(steps - 1):
            raise ValueError(
                f'embed_dims must be a multiple of {2**(steps - 1)} with '
                f'patch_size={patch_size}, got {embed_dims}.')
        layers, channels = [], in_channels
        for step in reversed(range(steps)):
            width = embed_dims // 2**step
            layers += [
                nn.Conv2d(channels, width, 3, stride=2, padding=1, bias=False),
                build_norm_layer(norm_cfg, width)[1],
                nn.ReLU(inplace=True)
            ]
            channels = width
        self.convs = nn.Sequential(*layers)
        self.projection = nn.Conv2d(channels, embed_dims, 1)
        self.embed_dims = embed_dims
        self.init_input_size = self.init_out_size = None
        if input_size is not None:
            self.init_input_size = to_2tuple(input_size)
            self.init_out_size = tuple(-(-side // patch_size)
                                       for side in self.init_input_size)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Turn images into tokens.

        Args:
            x: Images, shape (B, C, H, W).

        Returns:
            Tokens (B, h w, D) and the patch grid (h, w).
        """
        x = self.projection(self.convs(x))
        return x.flatten(2).transpose(1, 2), tuple(x.shape[-2:])
