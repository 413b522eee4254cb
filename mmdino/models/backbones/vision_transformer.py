"""DINO's vision transformer: mmpretrain's, and what that one lacks.

B images, N patch tokens, D features, H heads; h x w patches, h w = N.
"""
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.logging import print_log
from mmengine.utils import to_2tuple
from mmpretrain.models.backbones import VisionTransformer as _VisionTransformer
from torch import Tensor
from torch.nn.init import trunc_normal_

from mmdino.models.backbones.pretrained import StrictPretrained, pretrained_cfg
from mmdino.registry import MODELS

POS_EMBED_MODES = ('offset', 'size', 'antialias')


def resize_pos_embed(pos_embed: Tensor,
                     grid: tuple[int, int],
                     new_grid: tuple[int, int],
                     mode: str = 'offset') -> Tensor:
    """Resize position embeddings to (1, 1 + h w, D), bicubic.

    The class token's embedding is kept.

    Args:
        pos_embed (Tensor): Shape (1, 1 + H W, D), the class token first.
        grid (tuple[int, int]): (H, W) of ``pos_embed``, in patches.
        new_grid (tuple[int, int]): (h, w) of the image, in patches.
        mode (str): 'offset' as the authors' code, with ``scale_factor =
            (n + 0.1) / N`` in height and in width, which the published
            weights were trained with; 'size' with ``size=``, which gives
            other numbers, as mmpretrain and transformers do; 'antialias' with
            ``size=``, antialiased, as timm does.
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
    multiple of the patch are refused instead of padded, and the methods that
    give tokens and attention.

    DINO's ViT-S is ``arch='deit-small'``, its ViT-B ``arch='deit-base'``.

    Args:
        arch (str | dict): As mmpretrain's.
        img_size (int | tuple[int, int]): Height and width in pixels of the
            images that the position embeddings are stored for.
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
                 arch: str | dict = 'base',
                 img_size: int | tuple[int, int] = 224,
                 patch_size: int = 16,
                 in_channels: int = 3,
                 pos_embed_mode: str = 'offset',
                 stem: dict | None = None,
                 **kwargs) -> None:
        img_size = tuple(to_2tuple(img_size))
        for side in img_size:
            _check_multiple('img_size', side, patch_size)
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
        if not self.final_norm:
            self.ln1 = nn.Identity()
        self._register_state_dict_hook(_store_grid)
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

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run images (B, C, H, W); an output for each of ``out_indices``.

        Returns:
            tuple[Tensor]: By ``out_type``: class tokens (B, D), maps
            (B, D, h, w), averages (B, D) or all tokens (B, 1 + N, D).
        """
        x, patch_resolution = self.embed(x)
        outs = []
        for i in range(len(self.layers)):
            x = self.run_block(i, x, patch_resolution)
            if i == len(self.layers) - 1:
                x = self.ln1(x)
            if i in self.out_indices:
                outs.append(self._format_output(x, patch_resolution))
        return tuple(outs)

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Images (B, C, H, W) to tokens (B, 1 + N, D) and their grid."""
        self._check_images(x)
        x, patch_resolution = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1)
        x = x + resize_pos_embed(self.pos_embed, self.patch_resolution,
                                 patch_resolution, self.pos_embed_mode)
        return self.pre_norm(self.drop_after_pos(x)), patch_resolution

    def run_block(self, i: int, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Run block ``i`` on tokens (B, 1 + N, D) of a grid (h, w)."""
        return self.layers[i](x)

    def last_blocks(self, x: Tensor, n: int = 1) -> list[Tensor]:
        """Tokens (B, 1 + N, D) of the last ``n`` blocks, the last one last.

        Of images (B, C, H, W); each through the final norm, or with
        ``final_norm=False`` as the blocks yield them.
        """
        x, grid = self.embed(x)
        outs = []
        for i in range(len(self.layers)):
            x = self.run_block(i, x, grid)
            if i >= len(self.layers) - n:
                outs.append(self.ln1(x))
        return outs

    def last_attention(self, x: Tensor) -> Tensor:
        """Attention (B, H, 1 + N, 1 + N) of the last block.

        Of images (B, C, H, W). Rows attend to columns, the class token first.
        """
        return attention(self.layers[-1], self._before_last_block(x)[0])

    def class_attention(self, x: Tensor) -> Tensor:
        """Last-block attention (B, H, h, w) of the class token.

        Of images (B, C, H, W), without that to itself: sums to less than 1.
        """
        return self._class_attention(*self._before_last_block(x))

    @contextmanager
    def recorded_attention(self) -> Iterator[list[Tensor]]:
        """Collect the :meth:`class_attention` of the passes made meanwhile.

        Saves a second pass where the features are wanted as well. The list
        grows by the maps (B, H, h, w) of each pass.
        """
        maps, run_block = [], self.run_block

        def record(i: int, x: Tensor, grid: tuple[int, int]) -> Tensor:
            if i == len(self.layers) - 1:
                maps.append(self._class_attention(x, grid))
            return run_block(i, x, grid)

        self.run_block = record
        try:
            yield maps
        finally:
            del self.run_block

    def _before_last_block(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """What the last block gets, tokens (B, 1 + N, D), and their grid."""
        x, grid = self.embed(x)
        for i in range(len(self.layers) - 1):
            x = self.run_block(i, x, grid)
        return x, grid

    def _class_attention(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """The class token's attention (B, H, h, w) in the last block."""
        row = attention(self.layers[-1], x, rows=1)[:, :, 0]
        return row[..., 1:].unflatten(-1, grid)

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, metadata: dict,
                           *args) -> None:
        """Resize loaded position embeddings to this model's ``img_size``.

        Weights of this class know their grid as long as they are a state dict
        (or a file of one). Of others the grid is taken for this model's if it
        has as many patches, and for a square otherwise.
        """
        name = f'{prefix}pos_embed'
        loaded = state_dict.get(name)
        if loaded is None or loaded.shape[2:] != self.pos_embed.shape[2:]:
            return  # PyTorch names what is missing or has another width
        num_patches, own = loaded.shape[1] - 1, tuple(self.patch_resolution)
        grid = tuple(metadata.get('grid', own))
        if math.prod(grid) != num_patches:
            grid = (math.isqrt(num_patches), ) * 2
        if math.prod(grid) != num_patches:
            raise ValueError(
                f'{name} has {num_patches} patches, which are no square grid, '
                'and the weights do not tell their grid, so it cannot be '
                f'resized to the {own} of this model. Build it with the '
                'img_size (height, width) of the training; it takes images '
                'of other sizes as it is.')
        if grid != own:
            print_log(
                f'Resized {name} from a grid of {grid} patches (rows, '
                f'columns) to {own}',
                logger='current')
            state_dict[name] = resize_pos_embed(loaded, grid, own,
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


def attention(block: nn.Module, x: Tensor, rows: int | None = None) -> Tensor:
    """Attention probabilities (B, H, R, 1 + N): rows attend to columns.

    Args:
        block (nn.Module): mmpretrain's, with ``ln1`` and ``attn``.
        x (Tensor): Tokens that the block gets, shape (B, 1 + N, D).
        rows (int, optional): Of so many tokens, the first R; by default all.
    """
    attn = block.attn
    qkv = attn.qkv(block.ln1(x)).unflatten(-1, (3, attn.num_heads, -1))
    q, k, _ = qkv.unbind(2)
    # Given a qk_scale, mmpretrain keeps a divisor with its attention function.
    function = attn.scaled_dot_product_attention
    divisor = getattr(function, 'keywords', {}).get('scale')
    scale = 1 / divisor if divisor else attn.head_dims**-0.5
    scores = torch.einsum('bnhd,bmhd->bhnm', q[:, :rows], k) * scale
    return scores.softmax(dim=-1)


def _store_grid(vit: VisionTransformer, state_dict: dict, prefix: str,
                metadata: dict) -> None:
    """Let the state dict know the grid, which no tensor of it tells."""
    metadata['grid'] = tuple(vit.patch_resolution)


def _check_multiple(name: str, size: int, patch_size: int) -> None:
    if size % patch_size:
        lower = size // patch_size * patch_size
        raise ValueError(
            f'{name} {size} is not a multiple of the patch size {patch_size}: '
            f'use {lower or patch_size} or {lower + patch_size} pixels.')
