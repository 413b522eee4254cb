"""A plain ViT for large images: most blocks attend within windows.

B images, D features; h x w patches, N = h w.
"""
import math
from typing import List, Sequence, Tuple

import torch
import torch.nn as nn
from torch import Tensor

from mmdino.models.backbones.vision_transformer import VisionTransformer
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


def run_in_windows(block: nn.Module, x: Tensor, grid: Tuple[int, int],
                   window_size: int) -> Tensor:
    """Run a transformer block within windows of the grid.

    Args:
        block (nn.Module): Turns tokens (B', M, D) into the same shape.
        x (Tensor): Tokens (B, 1 + h w, D), the class token first.
        grid (tuple[int, int]): (h, w) of the image, in patches.
        window_size (int): Largest side of a window in patches.

    Returns:
        Tensor: Shape (B, 1 + h w, D).
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
    num_windows = math.prod(-(-side // window_size) for side in grid)
    patches = torch.cat(rows, 1).flatten(1, 2)
    return torch.cat([cls_sum / num_windows, patches], 1)


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


def _run(block: nn.Module, maps: Tensor, cls_token: Tensor,
         window: Tuple[int, int]) -> Tuple[Tensor, Tensor]:
    """Run the block on a part of the grid that is whole windows.

    Args:
        maps (Tensor): Shape (B, h', w', D).
        cls_token (Tensor): Shape (B, 1, D).
        window (tuple[int, int]): Sides of a window in patches.

    Returns:
        tuple[Tensor, Tensor]: Patches (B, h', w', D), class tokens of the
        windows (B, windows, D).
    """
    x = maps.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    x = x.transpose(2, 3)  # (B, rows, columns, height, width, D)
    num_windows = x.shape[1] * x.shape[2]
    tokens = torch.cat([
        cls_token.repeat_interleave(num_windows, 0),
        x.flatten(3, 4).flatten(0, 2)
    ], 1)
    tokens = block(tokens).unflatten(0, (-1, num_windows))
    x = tokens[:, :, 1:].reshape(x.shape).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2), tokens[:, :, 0]
