"""Masks of the patches that are hidden from the student.

Letters: B' crops (all global views of all images), (h, w) the patch grid.
"""
import math
import random
from abc import abstractmethod
from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.registry import MODELS


class Masking(BaseModule):
    """Base class that draws the masked patches of a batch of crops.

    Masks are drawn on the CPU from PyTorch's default generator.
    :class:`ResumableTrainLoop` seeds it with (seed, rank, iteration), so that
    a resumed run draws the same masks and every rank draws its own.

    Args:
        probability: Share of the crops that are masked.
        ratio: Lowest and highest share of a masked crop's patches to mask.
        stratified: True as in DINOv2: exactly n = ``int(B' probability)``
            crops, chosen at random, are masked; ``ratio`` is divided into n
            equal intervals, and each of these crops draws its share from
            another one. False as in iBOT: each crop is masked with this
            probability, independently, and draws its share from ``ratio``.

    Raises:
        ValueError: If a share is not in [0, 1] or the first ``ratio`` is
            larger than the second.
    """

    def __init__(self, probability: float, ratio: Sequence[float],
                 stratified: bool) -> None:
        super().__init__()
        if not 0 <= probability <= 1:
            raise ValueError(
                f'probability must be in [0, 1], got {probability}')
        if len(ratio) != 2 or not 0 <= ratio[0] <= ratio[1] <= 1:
            raise ValueError('ratio must be two rising shares in [0, 1], got '
                             f'{tuple(ratio)}')
        self.probability = probability
        self.ratio = tuple(ratio)
        self.stratified = stratified

    def forward(self,
                num_images: int,
                grid: tuple[int, int],
                device: torch.device | str = 'cpu') -> Tensor:
        """Draw masks (B', h w), bool: True where a patch is masked.

        Args:
            num_images: B', the number of crops.
            grid: (h, w) in patches.
            device: Device of the result. The copy does not wait; to count the
                masked patches without a device sync, keep the masks on the
                CPU first.
        """
        with torch.device('cpu'):
            targets = self.draw_targets(num_images, math.prod(grid))
            masks = self.draw_masks(targets, grid)
        return masks.flatten(1).to(device, non_blocking=True)

    def draw_targets(self, num_images: int, num_patches: int) -> Tensor:
        """Draw how many patches of each crop to mask, (B',) int64."""
        low, high = self.ratio
        shares = torch.rand(num_images, dtype=torch.float64)
        if not self.stratified:
            shares = low + (high - low) * shares
            chosen = torch.rand(num_images) < self.probability
            return (num_patches * shares * chosen).long()
        num_masked = int(num_images * self.probability)
        edges = torch.linspace(low, high, num_masked + 1, dtype=torch.float64)
        shares = edges[:-1].lerp(edges[1:], shares[:num_masked])
        targets = torch.zeros(num_images, dtype=torch.int64)
        targets[:num_masked] = (num_patches * shares).long()
        return targets[torch.randperm(num_images)]

    @abstractmethod
    def draw_masks(self, targets: Tensor, grid: tuple[int, int]) -> Tensor:
        """Draw masks (B', h, w), bool, with ``targets`` (B',) masked patches
        each."""


@MODELS.register_module()
class RandomMasking(Masking):
    """Mask single patches at random places (iBOT, arXiv 2111.07832)."""

    def __init__(self,
                 probability: float = .5,
                 ratio: Sequence[float] = (.1, .5),
                 stratified: bool = False) -> None:
        super().__init__(probability, ratio, stratified)

    def draw_masks(self, targets: Tensor, grid: tuple[int, int]) -> Tensor:
        """Draw masks with exactly as many patches as asked for."""
        size = len(targets), math.prod(grid)
        ranks = torch.rand(size).argsort(1).argsort(1)
        return (ranks < targets[:, None]).unflatten(1, grid)


@MODELS.register_module()
class BlockMasking(Masking):
    """Mask rectangles of patches, which may overlap (BEiT, arXiv 2106.08254).

    As in DINOv2, rectangles are added until the target is reached. A rectangle
    that masks nothing new, or more patches than are left to mask, is drawn
    again, up to 10 times; after that the crop keeps fewer masked patches than
    its target. A rectangle is smaller than the grid in height and in width, so
    that a grid of one row or one column is never masked.

    Args:
        probability: As of :class:`Masking`.
        ratio: As of :class:`Masking`.
        stratified: As of :class:`Masking`.
        min_patches: Smallest area of a rectangle in patches, before rounding
            and unless fewer patches are left to mask.
        max_share: Largest area of a rectangle, as a share of all patches.
        min_aspect: Smallest ratio of height to width; the largest is its
            inverse.

    Raises:
        ValueError: If ``min_aspect`` or ``max_share`` is not in (0, 1].
    """

    TRIES = 10

    def __init__(self,
                 probability: float = .5,
                 ratio: Sequence[float] = (.1, .5),
                 stratified: bool = True,
                 min_patches: int = 4,
                 max_share: float = .5,
                 min_aspect: float = .3) -> None:
        super().__init__(probability, ratio, stratified)
        for name, value in dict(
                max_share=max_share, min_aspect=min_aspect).items():
            if not 0 < value <= 1:
                raise ValueError(f'{name} must be in (0, 1], got {value}')
        self.min_patches = min_patches
        self.max_share = max_share
        self.min_aspect = min_aspect

    def draw_masks(self, targets: Tensor, grid: tuple[int, int]) -> Tensor:
        """Draw masks with as many patches as asked for, or fewer."""
        # Python's generator draws single numbers much faster than PyTorch's.
        rng = random.Random(int(torch.randint(2**62, ())))
        masks = torch.zeros(len(targets), *grid, dtype=torch.bool)
        for mask, target in zip(masks.numpy(), targets.tolist()):
            self._fill(mask, target, rng)
        return masks

    def _fill(self, mask, target: int, rng: random.Random) -> None:
        """Set rectangles of a NumPy array (h, w) until the target is met."""
        left, most = target, self.max_share * mask.size
        while left > 0:
            limit = min(left, most)
            for _ in range(self.TRIES):
                block = self._draw_block(mask, limit, rng)
                new = block.size - int(block.sum())
                if 0 < new <= limit:
                    break
            else:
                return
            block[:] = True
            left -= new

    def _draw_block(self, mask, limit: float, rng: random.Random):
        """Draw a rectangle, as a view of the mask; empty if it is too large.
        """
        area = rng.uniform(self.min_patches, limit)
        bound = math.log(self.min_aspect)
        aspect = math.exp(rng.uniform(bound, -bound))
        height = round(math.sqrt(area * aspect))
        width = round(math.sqrt(area / aspect))
        if height >= mask.shape[0] or width >= mask.shape[1]:
            return mask[:0]
        top = rng.randint(0, mask.shape[0] - height)
        left = rng.randint(0, mask.shape[1] - width)
        return mask[top:top + height, left:left + width]
