"""A plain ViT for large images: most blocks attend within windows.

B images, D features; h x w patches, N = h w.
"""
import math
from typing import Callable, List, Sequence, Tuple

import torch
from torch import Tensor

from mmdino.models.backbones.vision_transformer import (VisionTransformer,
                                                        attention)
from mmdino.registry import MODELS


@MODELS.register_module()
class WindowedVisionTransformer(VisionTransformer):
    """``VisionTransformer`` whose attention is local but for some blocks.

    The cost then grows with the patches instead of their square, as in
    ViTDet (`Li et al. 2022 <https://arxiv.org/abs/2203.16527>`_, section 3).
    It has the weights of ``VisionTransformer`` and no others. The grid is cut
    into the least number of windows of nearly equal sides, so that nothing is
    padded: with one window a block is the global one. The class token, which
    ViTDet drops, attends in every window; its average goes on.

    Args:
        window_size (int): Largest side of a window in patches.
        global_blocks (Sequence[int]): Blocks, from 0, that attend to the
            whole image.
        **kwargs: Arguments of ``VisionTransformer``.

    Raises:
        ValueError: If the window is empty or there is no such block.
    """

    def __init__(self,
                 window_size: int = 14,
                 global_blocks: Sequence[int] = (2, 5, 8, 11),
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if window_size < 1:
            raise ValueError(
                f'window_size must be at least 1 patch, got {window_size}')
        if not set(global_blocks) <= set(range(self.num_layers)):
            raise ValueError(f'global_blocks={tuple(global_blocks)}: the '
                             f'blocks are 0 to {self.num_layers - 1}.')
        self.window_size = window_size
        self.global_blocks = frozenset(global_blocks)

    def run_block(self, i: int, x: Tensor, grid: Tuple[int, int]) -> Tensor:
        """Run block ``i`` on tokens (B, 1 + N, D)."""
        if i in self.global_blocks:
            return super().run_block(i, x, grid)
        return run_in_windows(self.layers[i], x, grid, self.window_size)

    def last_attention(self, x: Tensor) -> Tensor:
        """Attention of the last block, if it attends to the whole image.

        See :meth:`VisionTransformer.last_attention`.

        Raises:
            ValueError: If the last block attends within several windows.
        """
        if self._last_is_global() or max(
                side // self.patch_size
                for side in x.shape[-2:]) <= self.window_size:
            return super().last_attention(x)
        raise ValueError(
            f'last_attention: block {self.num_layers - 1}, the last one, '
            f'attends within windows of {self.window_size} patches, and '
            f'images of {tuple(x.shape[-2:])} pixels have several. Add it to '
            'global_blocks, or ask for class_attention.')

    def _last_is_global(self) -> bool:
        return self.num_layers - 1 in self.global_blocks

    def _class_attention(self, x: Tensor, grid: Tuple[int, int]) -> Tensor:
        """The class token's attention (B, H, h, w) in the last block.

        Within windows it is an average, as the token itself: each window's
        probabilities count as one of so many.
        """
        if self._last_is_global():
            return super()._class_attention(x, grid)

        def probabilities(tokens: Tensor) -> Tensor:
            return attention(self.layers[-1], tokens, rows=1)[:, :, 0].mT

        maps = run_in_windows(probabilities, x, grid, self.window_size)
        maps = maps[:, 1:] / num_windows(grid, self.window_size)
        return maps.mT.unflatten(-1, grid)


def run_in_windows(block: Callable[[Tensor], Tensor], x: Tensor,
                   grid: Tuple[int, int], window_size: int) -> Tensor:
    """Run a transformer block within windows of the grid.

    Args:
        block (Callable): Turns tokens (B', M, D) into (B', M, D').
        x (Tensor): Tokens (B, 1 + h w, D), the class token first.
        grid (tuple[int, int]): (h, w) of the image, in patches.
        window_size (int): Largest side of a window in patches.

    Returns:
        Tensor: Shape (B, 1 + h w, D').
    """
    cls_token, maps = x[:, :1], x[:, 1:].unflatten(1, grid)
    heights, widths = (_bands(side, window_size) for side in grid)
    cls_sum, rows = 0, []
    for row, height in zip(maps.split([h for h, _ in heights], 1), heights):
        parts = []
        for part, width in zip(row.split([w for w, _ in widths], 2), widths):
            part, cls_tokens = _run(block, part, cls_token,
                                    (height[1], width[1]))
            parts.append(part)
            cls_sum = cls_sum + cls_tokens.sum(1, keepdim=True)
        rows.append(torch.cat(parts, 2))
    patches = torch.cat(rows, 1).flatten(1, 2)
    return torch.cat([cls_sum / num_windows(grid, window_size), patches], 1)


def num_windows(grid: Tuple[int, int], window_size: int) -> int:
    """The least number of windows that cover a grid (h, w) of patches."""
    return math.prod(-(-side // window_size) for side in grid)


def _bands(side: int, window_size: int) -> List[Tuple[int, int]]:
    """Cut a side into windows of at most two lengths, the longer ones first.

    Returns:
        list[tuple[int, int]]: Patches covered and the length of a window, in
        patches, for each length.
    """
    windows = -(-side // window_size)
    length, longer = divmod(side, windows)
    bands = [(longer * (length + 1), length + 1),
             ((windows - longer) * length, length)]
    return [band for band in bands if band[0]]


def _run(block: Callable[[Tensor], Tensor], maps: Tensor, cls_token: Tensor,
         window: Tuple[int, int]) -> Tuple[Tensor, Tensor]:
    """Run the block on a part of the grid that is whole windows.

    Args:
        maps (Tensor): Shape (B, h', w', D).
        cls_token (Tensor): Shape (B, 1, D).
        window (tuple[int, int]): Sides of a window in patches.

    Returns:
        tuple[Tensor, Tensor]: Patches (B, h', w', D'), class tokens of the
        windows (B, windows, D').
    """
    x = maps.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    x = x.transpose(2, 3)  # (B, rows, columns, height, width, D)
    windows = x.shape[1] * x.shape[2]
    tokens = torch.cat([
        cls_token.repeat_interleave(windows, 0),
        x.flatten(3, 4).flatten(0, 2)
    ], 1)
    tokens = block(tokens).unflatten(0, (-1, windows))
    x = tokens[:, :, 1:].reshape(*x.shape[:-1], -1).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2), tokens[:, :, 0]
