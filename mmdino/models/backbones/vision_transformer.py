"""DINO's vision transformer: mmpretrain's, and what that one lacks.

B images, N patch tokens, D features, H heads; h x w patches, h w = N.
"""
import math
from contextlib import contextmanager
from typing import Iterator, List, Optional, Tuple, Union

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones import VisionTransformer as _VisionTransformer
from torch import Tensor
from torch.nn.init import trunc_normal_

from mmdino.models.backbones.pretrained import StrictPretrained, pretrained_cfg
from mmdino.registry import MODELS

POS_EMBED_MODES = ('offset', 'size', 'antialias')


def resize_pos_embed(pos_embed: Tensor,
                     grid: Tuple[int, int],
                     new_grid: Tuple[int, int],
                     mode: str = 'offset') -> Tensor:
    """Resize position embeddings, by default as the authors' code does.

    Bicubic with ``scale_factor = (n + 0.1) / N`` in height and in width, not
    with ``size=``: the two give different numbers, and the published weights
    were trained with this one. The class token's embedding is kept.

    Args:
        pos_embed (Tensor): Shape (1, 1 + H W, D), the class token first.
        grid (tuple[int, int]): (H, W) of ``pos_embed``, in patches.
        new_grid (tuple[int, int]): (h, w) of the image, in patches.
        mode (str): 'offset' for the authors' way; 'size' as mmpretrain and
            transformers do; 'antialias' with ``size=`` as well, antialiased,
            as timm does.

    Returns:
        Tensor: Shape (1, 1 + h w, D).
    """
    if tuple(grid) == tuple(new_grid):
        return pos_embed
    cls_embed, patch_embed = pos_embed[:, :1], pos_embed[:, 1:]
    if mode == 'offset':
        scale = tuple((new + 0.1) / old for new, old in zip(new_grid, grid))
        target = dict(scale_factor=scale)
    else:
        target = dict(size=tuple(new_grid), antialias=mode == 'antialias')
    maps = patch_embed.unflatten(1, grid).permute(0, 3, 1, 2)
    maps = F.interpolate(maps, mode='bicubic', **target)
    return torch.cat([cls_embed, maps.flatten(2).transpose(1, 2)], dim=1)


@MODELS.register_module()
class VisionTransformer(StrictPretrained, _VisionTransformer):
    """mmpretrain's ``VisionTransformer`` with DINO's semantics.

    Parameter names and arguments are mmpretrain's, so its checkpoints and
    tools fit. What differs: the initialisation (trunc_normal(.02) on every
    linear layer, on the position embeddings and on the class token), position
    embeddings at other sizes (:func:`resize_pos_embed`), images that are no
    multiple of the patch are refused instead of padded, and the methods
    :meth:`last_blocks`, :meth:`last_attention`, :meth:`class_attention` and
    :meth:`recorded_attention`.

    DINO's ViT-S is ``arch='deit-small'``, its ViT-B ``arch='deit-base'``.

    Args:
        arch (str | dict): As mmpretrain's.
        img_size (int): Height and width in pixels of the images that the
            position embeddings are stored for.
        patch_size (int): Height and width of a patch in pixels.
        in_channels (int): Channels of the images.
        pos_embed_mode (str): How position embeddings are resized for other
            images, a mode of :func:`resize_pos_embed`. Weights trained with
            another library's ViT may need that library's.
        stem (dict, optional): Config of a patch embedding, such as
            :class:`ConvStem`, in the place of the linear projection.
        **kwargs: mmpretrain's other arguments.

    Raises:
        ValueError: If ``img_size`` is no multiple of the patch or there is
            no such ``pos_embed_mode``; in forward, if the channels or the
            size of the images do not fit.
    """

    def __init__(self,
                 arch: Union[str, dict] = 'base',
                 img_size: int = 224,
                 patch_size: int = 16,
                 in_channels: int = 3,
                 pos_embed_mode: str = 'offset',
                 stem: Optional[dict] = None,
                 **kwargs) -> None:
        _check_multiple('img_size', img_size, patch_size)
        if not kwargs.get('with_cls_token', True):
            raise ValueError('with_cls_token=False: DINO needs a class token.')
        if pos_embed_mode not in POS_EMBED_MODES:
            raise ValueError(f'pos_embed_mode must be one of '
                             f'{POS_EMBED_MODES}, got {pos_embed_mode!r}')
        super().__init__(
            arch=arch,
            img_size=img_size,
            patch_size=patch_size,
            in_channels=in_channels,
            **kwargs)
        if stem is not None:
            self.patch_embed = MODELS.build(
                dict(
                    stem,
                    in_channels=in_channels,
                    embed_dims=self.embed_dims,
                    patch_size=patch_size,
                    input_size=img_size))
            self.train(self.training)  # freezes it as well, if asked to
        for module in self.modules():
            if isinstance(module, DropPath):
                # NumPy's, which torch.compile takes for a tensor: it could
                # not branch on it, and would break every block in pieces.
                module.drop_prob = float(module.drop_prob)
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.pos_embed_mode = pos_embed_mode

    def init_weights(self) -> None:
        """Initialise as the authors do, unless weights were loaded."""
        super().init_weights()
        if pretrained_cfg(self.init_cfg):
            return
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        trunc_normal_(self.pos_embed, std=.02)
        trunc_normal_(self.cls_token, std=.02)

    def train(self, mode: bool = True) -> 'VisionTransformer':
        """Switch the mode; frozen stages stay in eval mode."""
        super().train(mode)
        if self.frozen_stages > 0:
            self._freeze_stages()
        return self

    def forward(self, x: Tensor) -> Tuple[Tensor, ...]:
        """Run the blocks and return one output for each of ``out_indices``.

        Args:
            x (Tensor): Images, shape (B, C, H, W).

        Returns:
            tuple[Tensor]: By ``out_type``: class tokens (B, D), maps
            (B, D, h, w), averages (B, D) or all tokens (B, 1 + N, D).
        """
        x, patch_resolution = self.embed(x)
        outs = []
        for i in range(len(self.layers)):
            x = self.run_block(i, x, patch_resolution)
            if i == len(self.layers) - 1 and self.final_norm:
                x = self.ln1(x)
            if i in self.out_indices:
                outs.append(self._format_output(x, patch_resolution))
        return tuple(outs)

    def embed(self, x: Tensor) -> Tuple[Tensor, Tuple[int, int]]:
        """Images (B, C, H, W) to tokens (B, 1 + N, D) and their grid."""
        self._check_images(x)
        x, patch_resolution = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + resize_pos_embed(self.pos_embed, self.patch_resolution,
                                 patch_resolution, self.pos_embed_mode)
        return self.pre_norm(self.drop_after_pos(x)), patch_resolution

    def run_block(self, i: int, x: Tensor, grid: Tuple[int, int]) -> Tensor:
        """Run block ``i`` on tokens (B, 1 + N, D) of a grid (h, w)."""
        return self.layers[i](x)

    def last_blocks(self, x: Tensor, n: int = 1) -> List[Tensor]:
        """Tokens of the last ``n`` blocks, each through the final norm.

        Args:
            x (Tensor): Images, shape (B, C, H, W).
            n (int): Number of blocks, the last one last.

        Returns:
            list[Tensor]: ``n`` tensors of shape (B, 1 + N, D).
        """
        x, grid = self.embed(x)
        outs = []
        for i in range(len(self.layers)):
            x = self.run_block(i, x, grid)
            if i >= len(self.layers) - n:
                outs.append(self.ln1(x))
        return outs

    def last_attention(self, x: Tensor) -> Tensor:
        """Attention probabilities of the last block.

        Args:
            x (Tensor): Images, shape (B, C, H, W).

        Returns:
            Tensor: Shape (B, H, 1 + N, 1 + N): rows attend to columns, the
            class token is the first of both.
        """
        tokens, _ = self._last_attended(x)
        return _attention(self.layers[-1].attn, tokens)

    def class_attention(self, x: Tensor) -> Tensor:
        """Last-block attention of the class token over the patches.

        Args:
            x (Tensor): Images, shape (B, C, H, W).

        Returns:
            Tensor: Shape (B, H, h, w). The class token's attention to itself
            is left out, so a map sums to less than 1.
        """
        tokens, grid = self._last_attended(x)
        return _class_attention(self.layers[-1].attn, tokens, grid)

    @contextmanager
    def recorded_attention(self) -> Iterator[List[Tensor]]:
        """Collect the attention of the forward passes made meanwhile.

        Saves a second pass where the features are wanted as well.

        Yields:
            list[Tensor]: Grows by what :meth:`class_attention` gives for the
            images of each pass.
        """
        grids, maps = [], []

        def record(attn: nn.Module, inputs: Tuple[Tensor]) -> None:
            maps.append(_class_attention(attn, inputs[0], grids.pop()))

        hooks = (self.patch_embed.register_forward_hook(
            lambda module, inputs, outputs: grids.append(outputs[1])),
                 self.layers[-1].attn.register_forward_pre_hook(record))
        try:
            yield maps
        finally:
            for hook in hooks:
                hook.remove()

    def _last_attended(self, x: Tensor) -> Tuple[Tensor, Tuple[int, int]]:
        """What the last attention gets, (B, 1 + N, D), and the grid."""
        x, grid = self.embed(x)
        for i in range(len(self.layers) - 1):
            x = self.run_block(i, x, grid)
        return self.layers[-1].ln1(x), grid

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args) -> None:
        """Resize loaded position embeddings to this model's ``img_size``."""
        name = f'{prefix}pos_embed'
        loaded = state_dict.get(name)
        if loaded is not None and loaded.shape != self.pos_embed.shape:
            side = math.isqrt(loaded.shape[1] - 1)
            state_dict[name] = resize_pos_embed(loaded, (side, side),
                                                self.patch_resolution,
                                                self.pos_embed_mode)

    def _check_images(self, x: Tensor) -> None:
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'VisionTransformer expects images of {self.in_channels} '
                f'channels, (B, {self.in_channels}, H, W), got '
                f'{tuple(x.shape)}. Change in_channels of the backbone or the '
                'way the images are loaded.')
        for name, size in zip(('image height', 'image width'), x.shape[-2:]):
            _check_multiple(name, size, self.patch_size)


def _attention(attn: nn.Module,
               x: Tensor,
               rows: Optional[int] = None) -> Tensor:
    """Probabilities (B, H, R, 1 + N) of the first R tokens, or of all."""
    qkv = attn.qkv(x).unflatten(-1, (3, attn.num_heads, -1))
    q, k, _ = qkv.unbind(2)
    scores = torch.einsum('bnhd,bmhd->bhnm', q[:, :rows],
                          k) * attn.head_dims**-0.5
    return scores.softmax(dim=-1)


def _class_attention(attn: nn.Module, x: Tensor, grid: Tuple[int,
                                                             int]) -> Tensor:
    """The class token's row alone, (B, H, h, w)."""
    return _attention(attn, x, rows=1)[:, :, 0, 1:].unflatten(-1, grid)


def _check_multiple(name: str, size: int, patch_size: int) -> None:
    if size % patch_size:
        below = size // patch_size * patch_size
        raise ValueError(
            f'{name} {size} is not a multiple of the patch size {patch_size}: '
            f'use {below or patch_size} or {below + patch_size} pixels.')
