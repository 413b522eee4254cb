"""Ways to get one feature vector an image from a frozen network.

Each is called with a network (the modules ``backbone`` and, optionally,
``neck``) and images (B, C, H, W), and returns features (B, D).

Letters: B images, D features or width of a token, N patch tokens, R registers.
"""
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from mmdino.functional.retrieval import crop_to_multiple, gem, rescale
from mmdino.models.embedding import embed
from mmdino.registry import MODELS

Network = Mapping[str, nn.Module]


@MODELS.register_module()
class PooledFeatures:
    """The network's pooled output, as k-NN uses it; works for any network."""

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        """Compute features (B, D)."""
        return embed(network, images)


@MODELS.register_module()
class LastBlocks:
    """The class tokens of the last blocks, each through the final norm.

    They are concatenated, the last block at the end. The authors take n = 4
    for ViT-S (arXiv 2104.14294, appendix F.2).

    Args:
        n: Number of blocks.

    Raises:
        ValueError: On a call, if the backbone has fewer than n blocks or is
            no ViT.
    """

    def __init__(self, n: int = 4) -> None:
        self.n = n

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        """Compute features (B, n D)."""
        blocks = last_blocks(network['backbone'], images, self.n)
        return torch.cat([tokens[:, 0] for tokens in blocks], dim=-1)


@MODELS.register_module()
class ClassAndPatchFeatures:
    """The last class token and the mean patch token, interleaved.

    Both are taken after the final norm. The authors use these features for
    ViT-B (arXiv 2104.14294, appendix F.2).

    Raises:
        ValueError: On a call, if the backbone is no ViT.
    """

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        """Compute features (B, 2 D)."""
        tokens, = last_blocks(network['backbone'], images)
        patches = patch_tokens(network['backbone'], tokens)
        return interleave(tokens[:, 0], patches.mean(dim=1))


class Choice(NamedTuple):
    """One of the features that DINOv2's linear classifiers choose from."""
    blocks: int  # how many last blocks' class tokens are concatenated
    mean: bool  # whether the last block's mean patch token is appended

    def __str__(self) -> str:
        return f'blocks{self.blocks}' + ('_mean' if self.mean else '')


@MODELS.register_module()
class BlocksAndMean:
    """All features that DINOv2's linear classifiers choose from, in one
    vector.

    The vector concatenates the class tokens of the last blocks and, at the
    end, the mean patch token of the last block, all through the final norm.
    Each :class:`Choice` is a slice of it (``dinov2/eval/linear.py``, arXiv
    2304.07193, appendix B.3).

    Args:
        blocks: Choices for the number of last blocks.

    Raises:
        ValueError: If there is no choice, or one is below 1; on a call, if the
            backbone has fewer blocks or is no ViT.
    """

    def __init__(self, blocks: Sequence[int] = (1, 4)) -> None:
        if not blocks or min(blocks) < 1:
            raise ValueError('blocks must be numbers of last blocks, such as '
                             f'(1, 4), got {blocks}.')
        self.blocks = tuple(blocks)

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        """Compute features (B, (n + 1) D) with n the largest of ``blocks``."""
        backbone = network['backbone']
        blocks = last_blocks(backbone, images, max(self.blocks))
        mean = patch_tokens(backbone, blocks[-1]).mean(dim=1)
        return torch.cat([*(tokens[:, 0] for tokens in blocks), mean], dim=-1)

    def choices(self, width: int) -> dict[Choice, slice]:
        """Return the slice of each choice in features of width (n + 1) D."""
        largest = max(self.blocks)
        dim = width // (largest + 1)
        return {
            Choice(n, mean):
            slice((largest - n) * dim, width if mean else largest * dim)
            for n in self.blocks
            for mean in (False, True)
        }


@MODELS.register_module()
class ClassAndGeMFeatures:
    """The last class token and the GeM-pooled patches, for copy detection.

    Both are taken after the final norm (arXiv 2104.14294, section 4.2.1).

    Args:
        power: Power p of :func:`gem`, which pools the patch tokens.

    Raises:
        ValueError: On a call, if the backbone is no ViT.
    """

    def __init__(self, power: float = 4.) -> None:
        self.power = power

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        """Compute features (B, 2 D)."""
        tokens, = last_blocks(network['backbone'], images)
        patches = patch_tokens(network['backbone'], tokens)
        pooled = gem(patches, self.power)
        return torch.cat([tokens[:, 0].float(), pooled], dim=1)


@MODELS.register_module()
class MultiScaleFeatures:
    """The L2-normalised mean of the features of an image at several scales.

    The image is resized bilinearly, as in the authors' retrieval. Its sides
    need not be multiples of the patch: pixels at the right and at the bottom
    that do not fill a patch are cut off, as a strided convolution would ignore
    them. Backbones without ``patch_size`` see the whole image.

    Args:
        scales: Factors of the image's height and width.

    Raises:
        ValueError: If there is no scale or one is not positive; on a call, if
            a scaled image is smaller than a patch.
    """

    def __init__(self, scales: Sequence[float] = (1., )) -> None:
        if not scales or min(scales) <= 0:
            raise ValueError(f'scales must be positive numbers, got {scales}.')
        self.scales = tuple(scales)

    def __call__(self, network: Network, images: Tensor) -> Tensor:
        """Compute features (B, D)."""
        patch = getattr(network['backbone'], 'patch_size', 1)
        by_scale = [
            embed(network, crop_to_multiple(rescale(images, scale), patch))
            for scale in self.scales
        ]
        return F.normalize(torch.stack(by_scale).mean(dim=0), dim=1)


def interleave(first: Tensor, second: Tensor) -> Tensor:
    """Interleave two features (B, D) as (B, 2 D): a0, b0, a1, b1, ...

    The authors' code has this order, which their published linear classifiers
    expect.
    """
    return torch.stack([first, second], dim=-1).flatten(1)


def last_blocks(backbone: nn.Module,
                images: Tensor,
                n: int = 1) -> list[Tensor]:
    """Compute the tokens of the last ``n`` blocks, through the final norm.

    Args:
        backbone: A ViT with the method ``last_blocks``.
        images: Shape (B, C, H, W).
        n: Number of blocks.

    Returns:
        For each block, the last one at the end, (B, 1 + R + N, D): the class
        token, registers and patches.

    Raises:
        ValueError: If the backbone has fewer than n blocks or is no ViT.
    """
    require_blocks(backbone)
    if not 1 <= n <= backbone.num_layers:
        raise ValueError(f'n={n} last blocks were asked for, but the backbone '
                         f'has {backbone.num_layers}: set model.features.n.')
    return backbone.last_blocks(images, n)


def require_blocks(backbone: nn.Module) -> None:
    """Raise an error if a backbone gives no tokens of its last blocks.

    Raises:
        ValueError: If the backbone is no ViT.
    """
    if not hasattr(backbone, 'last_blocks'):
        raise ValueError(
            f'{type(backbone).__name__} gives no tokens of its last blocks: '
            'it has no method last_blocks. Use mmdino.VisionTransformer, or '
            "set model.features=dict(type='PooledFeatures').")
    if hasattr(backbone, 'require_blocks'):
        backbone.require_blocks()


def patch_tokens(backbone: nn.Module, tokens: Tensor) -> Tensor:
    """Select the patches (B, N, D) of a backbone's tokens (B, 1 + R + N, D).
    """
    return tokens[:, backbone.num_extra_tokens:]
