"""What a linear probe sees of a frozen network.

Each is called with a network (its ``backbone`` and perhaps ``neck``) and
images (B, C, H, W), and returns features (B, D).
"""
from typing import List, Mapping

import torch
import torch.nn as nn
from torch import Tensor

from mmdino.models.embedding import embed
from mmdino.registry import MODELS


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """Two features (B, D) as one (B, 2 D): a0, b0, a1, b1, ...

    The order of the authors' code, which their linear weights need.
    """
    return torch.stack([first, second], dim=-1).flatten(1)


@MODELS.register_module()
class LastBlocks:
    """The class tokens of the last blocks, each through the final norm.

    ViT-S: n = 4 (arXiv 2104.14294, appendix F.2). The last block comes last.

    Args:
        n: Number of blocks.

    Raises:
        ValueError: On a call, if the backbone has fewer or no blocks.
    """

    def __init__(self, n: int = 4) -> None:
        self.n = n

    def __call__(self, network: Mapping[str, nn.Module],
                 images: Tensor) -> Tensor:
        """Features (B, n D)."""
        blocks = _last_blocks(network['backbone'], images, self.n)
        return torch.cat([tokens[:, 0] for tokens in blocks], dim=-1)


@MODELS.register_module()
class ClassAndPatchFeatures:
    """The last class token and the mean patch token, interleaved.

    For ViT-B. Both are taken after the final norm.
    """

    def __call__(self, network: Mapping[str, nn.Module],
                 images: Tensor) -> Tensor:
        """Features (B, 2 D)."""
        tokens, = _last_blocks(network['backbone'], images, 1)
        return interleave(tokens[:, 0], tokens[:, 1:].mean(dim=1))


@MODELS.register_module()
class PooledFeatures:
    """The last output, as for k-NN: of a ResNet, an XCiT, any timm model."""

    def __call__(self, network: Mapping[str, nn.Module],
                 images: Tensor) -> Tensor:
        """Features (B, D)."""
        return embed(network, images)


def _last_blocks(backbone: nn.Module, images: Tensor, n: int) -> List[Tensor]:
    if not hasattr(backbone, 'last_blocks'):
        raise ValueError(
            f'{type(backbone).__name__} has no method last_blocks, as '
            'mmdino.VisionTransformer has; set the probe\'s '
            "features=dict(type='PooledFeatures').")
    if not 1 <= n <= backbone.num_layers:
        raise ValueError(f'n={n} last blocks of a backbone that has '
                         f'{backbone.num_layers}: set model.features.n.')
    return backbone.last_blocks(images, n)
