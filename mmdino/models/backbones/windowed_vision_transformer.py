"""A plain ViT for large images, with attention within windows.

Letters: B images, R registers, D features, H heads, (h, w) the patch grid, N =
h w patches.
"""
import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmdino.models.backbones.vision_transformer import (VisionTransformer,
                                                        attention)
from mmdino.registry import MODELS


@MODELS.register_module()
class WindowedVisionTransformer(VisionTransformer):
    """A ``VisionTransformer`` whose blocks, but for some, attend in windows.

    The cost of such a block grows linearly with the number of patches, not
    with its square, as in ViTDet (`Li et al. 2022
    <https://arxiv.org/abs/2203.16527>`_, section 3). The weights are exactly
    those of ``VisionTransformer``. The grid is divided into as few windows as
    possible, of nearly equal sides and without padding; with a single window
    the block is the same as a global one. The class token, which ViTDet drops,
    and the registers take part in every window; the mean of their outputs is
    passed on.

    Args:
        window_size: Largest side of a window in patches.
        global_blocks: Indices, from 0, of the blocks that attend to all
            patches.
        **kwargs: Arguments of ``VisionTransformer``.

    Raises:
        ValueError: If ``window_size`` is below 1 or there is no such block.
    """

    def __init__(self,
                 window_size: int = 14,
                 global_blocks: Sequence[int] = (2, 5, 8, 11),
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if window_size < 1:
            raise ValueError(
                f'window_size must be at least 1 patch, got {window_size}.')
        if not set(global_blocks) <= set(range(self.num_layers)):
            raise ValueError(f'global_blocks={tuple(global_blocks)}, but the '
                             f'blocks are 0 to {self.num_layers - 1}.')
        self.window_size = window_size
        self.global_blocks = frozenset(global_blocks)

    def run_block(self, i: int, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Run block ``i`` on tokens (B, 1 + R + N, D) of a grid (h, w)."""
        if i in self.global_blocks:
            return super().run_block(i, x, grid)
        return run_in_windows(self.layers[i], x, grid, self.window_size,
                              self.num_extra_tokens)

    def last_attention(self, x: Tensor) -> Tensor:
        """Compute the last block's attention, if it is global.

        See :meth:`VisionTransformer.last_attention`.

        Raises:
            ValueError: If the last block attends within several windows.
        """
        if self._last_is_global() or max(
                side // self.patch_size
                for side in x.shape[-2:]) <= self.window_size:
            return super().last_attention(x)
        raise ValueError(
            f'The last block, {self.num_layers - 1}, attends within windows '
            f'of {self.window_size} patches, and images of '
            f'{tuple(x.shape[-2:])} pixels (height, width) have several '
            'windows, so that last_attention is not defined. Add the block to '
            'global_blocks, or use class_attention.')

    def _last_is_global(self) -> bool:
        return self.num_layers - 1 in self.global_blocks

    def _class_attention(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """The class token's attention (B, H, h, w) in the last block.

        If that block attends within windows, the probabilities in each window
        are divided by the number of windows, as the output of the class token
        is the mean over the windows.
        """
        if self._last_is_global():
            return super()._class_attention(x, grid)

        def probabilities(tokens: Tensor) -> Tensor:
            return attention(self.layers[-1], tokens, rows=1)[:, :, 0].mT

        maps = run_in_windows(probabilities, x, grid, self.window_size,
                              self.num_extra_tokens)
        windows = math.prod(-(-side // self.window_size) for side in grid)
        maps = maps[:, self.num_extra_tokens:] / windows
        return maps.mT.unflatten(-1, grid)


def run_in_windows(block: Callable[[Tensor], Tensor],
                   x: Tensor,
                   grid: tuple[int, int],
                   window_size: int,
                   num_extra_tokens: int = 1) -> Tensor:
    """Run a transformer block within windows of the grid.

    Args:
        block: Turns tokens (B', M, D) into (B', M, D').
        x: Tokens (B, E + h w, D), the class token first, patches last.
        grid: (h, w) of the image, in patches.
        window_size: Largest side of a window in patches.
        num_extra_tokens: E, the class token and registers.

    Returns:
        Shape (B, E + h w, D').
    """
    extra, maps = x[:, :num_extra_tokens], x[:, num_extra_tokens:]
    maps = maps.unflatten(1, grid)
    rows, columns = (-(-side // window_size) for side in grid)
    windows = [
        window for row in maps.tensor_split(rows, 1)
        for window in row.tensor_split(columns, 2)
    ]
    by_shape = defaultdict(list)  # windows of at most four shapes, batched
    for i, window in enumerate(windows):
        by_shape[window.shape[1:3]].append(i)
    extra_sum = 0
    for shape, places in by_shape.items():
        patches = torch.stack([windows[i] for i in places], 1).flatten(2, 3)
        tokens = torch.cat(
            [extra[:, None].expand(-1, len(places), -1, -1), patches], 2)
        tokens = block(tokens.flatten(0, 1)).unflatten(0, (-1, len(places)))
        extra_sum = extra_sum + tokens[:, :, :num_extra_tokens].sum(1)
        patches = tokens[:, :, num_extra_tokens:].unflatten(2, shape)
        for i, window in zip(places, patches.unbind(1)):
            windows[i] = window
    bands = [
        torch.cat(windows[i:i + columns], 2)
        for i in range(0, rows * columns, columns)
    ]
    patches = torch.cat(bands, 1).flatten(1, 2)
    return torch.cat([extra_sum / (rows * columns), patches], 1)
