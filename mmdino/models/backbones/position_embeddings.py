"""Position embeddings of a ViT, resized to the grid of the images.

D features; H x W patches as stored, h x w of the image.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

POS_EMBED_MODES = ('offset', 'size', 'antialias', 'offset-antialias')
Grid = tuple[int, int]


def resize_pos_embed(pos_embed: Tensor,
                     grid: Grid,
                     new_grid: Grid,
                     mode: str = 'offset') -> Tensor:
    """Resize position embeddings to (1, 1 + h w, D), bicubic.

    The class token's embedding is kept.

    Args:
        pos_embed: Shape (1, 1 + H W, D), the class token first.
        grid: (H, W) of ``pos_embed``, in patches.
        new_grid: (h, w) of the image, in patches.
        mode: 'offset' as the authors' code, with ``scale_factor = (n + 0.1) /
            N`` in height and in width, which the published weights were
            trained with; 'size' with ``size=``, which gives other numbers, as
            mmpretrain and transformers do; 'antialias' with ``size=``,
            antialiased, as timm and the authors' DINOv2 with registers do;
            'offset-antialias' as 'offset', antialiased.
    """
    if tuple(grid) == tuple(new_grid):
        return pos_embed
    cls_embed, patch_embed = pos_embed[:, :1], pos_embed[:, 1:]
    target = dict(antialias='antialias' in mode)
    if mode.startswith('offset'):
        target['scale_factor'] = tuple(
            (new + 0.1) / old for new, old in zip(new_grid, grid))
    else:
        target['size'] = tuple(new_grid)
    maps = patch_embed.unflatten(1, grid).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, mode='bicubic', **target)
    return torch.cat([cls_embed, maps.flatten(2).transpose(1, 2)], dim=1)


def find_grid(name: str,
              pos_embed: Tensor,
              own: Grid,
              told: Grid | None = None) -> Grid:
    """Find the grid (H, W) of loaded position embeddings (1, 1 + H W, D).

    What the weights tell; if it has not as many patches, or they tell none,
    that of the model, and a square otherwise.

    Args:
        name: Of the weights, for the message.
        pos_embed: What was loaded.
        own: The model's own grid.
        told: What the weights tell.

    Raises:
        ValueError: If it is none of these.
    """
    num_patches = pos_embed.shape[1] - 1
    grid = tuple(told or own)
    if math.prod(grid) != num_patches:
        grid = (math.isqrt(num_patches), ) * 2
    if math.prod(grid) != num_patches:
        raise ValueError(
            f'{name} has {num_patches} patches, which are no square grid, and '
            'the weights do not tell their grid, so it cannot be resized to '
            f'the {own} of this model. Build it with the img_size (height, '
            'width) of the training; it takes images of other sizes as it is.')
    return grid


class PosEmbedCache:
    """A cache of resized position embeddings, for a network in evaluation.

    They are given again only as long as the stored embeddings equal those
    that they were made of, number by number: whatever changes weights, be it
    by ``.data``, is seen. The comparison waits for a GPU, so that it is made
    only where PyTorch knows of no change.

    Args:
        max_grids: Grids to remember; images of any size, as in retrieval,
            would have no end of them.
    """

    def __init__(self, max_grids: int = 8) -> None:
        self.max_grids = max_grids
        self._forget()

    def resize(self, pos_embed: nn.Parameter, grid: Grid, new_grid: Grid,
               mode: str) -> Tensor:
        """Resize as :func:`resize_pos_embed` does, without gradient."""
        if tuple(grid) == tuple(new_grid):
            return pos_embed
        # What stands in for a parameter, in torch.func, fake and meta
        # tensors, cannot be compared, nor can a tensor without a version.
        if (type(pos_embed) is not nn.Parameter or pos_embed.is_meta
                or pos_embed.is_inference()):
            return resize_pos_embed(pos_embed, grid, new_grid, mode)
        if not self._is_made_of(pos_embed):
            self._forget()
            self._version = pos_embed._version
            self._source = pos_embed.detach().clone()
        key = (*grid, *new_grid, mode)
        if key not in self._resized:
            if len(self._resized) == self.max_grids:
                self._resized.pop(next(iter(self._resized)))
            self._resized[key] = resize_pos_embed(self._source, grid, new_grid,
                                                  mode)
        return self._resized[key]

    def _is_made_of(self, pos_embed: nn.Parameter) -> bool:
        source = self._source
        return (source is not None and self._version == pos_embed._version
                and source.dtype == pos_embed.dtype
                and source.device == pos_embed.device
                and torch.equal(source, pos_embed))

    def _forget(self) -> None:
        self._version = self._source = None
        self._resized = {}

    def __deepcopy__(self, memo: dict) -> 'PosEmbedCache':
        """Return an empty cache: a copied or pickled network starts anew."""
        return PosEmbedCache(self.max_grids)

    def __reduce__(self) -> tuple:
        return PosEmbedCache, (self.max_grids, )
