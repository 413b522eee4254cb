"""Position embeddings of a ViT, resized to the grid of the images.

Letters: D features, (H, W) the patch grid of the stored embeddings, (h, w)
that of the image.
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
        mode: How ``F.interpolate`` is called. The modes give different
            numbers, and weights need the mode they were trained with.

            - 'offset': with ``scale_factor = (n + 0.1) / N`` in height and in
              width, as the code of DINO and of DINOv2 without registers.
            - 'size': with ``size=``, as mmpretrain and transformers.
            - 'antialias': with ``size=`` and ``antialias=True``, as timm and
              the code of DINOv2 with registers.
            - 'offset-antialias': as 'offset', with ``antialias=True``.
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

    It is the grid stored with the weights or, without one, that of the model.
    If that does not have as many patches as the embeddings, a square grid is
    assumed.

    Args:
        name: Name of the embeddings, for the error message.
        pos_embed: The loaded embeddings.
        own: Grid of the model.
        told: Grid stored with the weights, if any.

    Raises:
        ValueError: If the number of patches fits none of these.
    """
    num_patches = pos_embed.shape[1] - 1
    grid = tuple(told or own)
    if math.prod(grid) != num_patches:
        grid = (math.isqrt(num_patches), ) * 2
    if math.prod(grid) != num_patches:
        raise ValueError(
            f'{name} has {num_patches} patches, which form no square grid, '
            'and the file does not store their grid, so that they cannot be '
            f'resized to the grid {own} of this model. Build the model with '
            'the img_size (height, width) that the weights were trained with; '
            'it accepts images of other sizes all the same.')
    return grid


class PosEmbedCache:
    """A cache of resized position embeddings, for a network in evaluation.

    A cached result is returned only while the position embeddings still equal
    those it was computed from. PyTorch's version counter is compared first,
    then the values, because changes through ``.data`` leave the counter as it
    is.

    Args:
        max_grids: Number of grids to keep. Without a limit the cache would
            grow with every image size, as in retrieval.
    """

    def __init__(self, max_grids: int = 8) -> None:
        self.max_grids = max_grids
        self._forget()

    def resize(self, pos_embed: nn.Parameter, grid: Grid, new_grid: Grid,
               mode: str) -> Tensor:
        """Resize as :func:`resize_pos_embed` does, without gradient."""
        if tuple(grid) == tuple(new_grid):
            return pos_embed
        # Tensors of torch.func, fake and meta tensors have no values to
        # compare, inference tensors have no version counter.
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
