"""The vision transformer of DINO and DINOv2, built on mmpretrain's.

Letters: B images, N = h w patch tokens, R registers, D features, H heads,
(h, w) the patch grid. Tokens (B, 1 + R + N, D) are the class token, registers
and patches, in this order.
"""
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn as nn
from mmengine.logging import print_log
from mmengine.utils import to_2tuple
from mmpretrain.models.backbones import VisionTransformer as _VisionTransformer
from torch import Tensor
from torch.nn.init import trunc_normal_

from mmdino.models.backbones.attention import check_mask
from mmdino.models.backbones.encoder_layer import (complete_stochastic_depth,
                                                   switch_blocks,
                                                   with_uniform_rate)
from mmdino.models.backbones.position_embeddings import (POS_EMBED_MODES,
                                                         PosEmbedCache,
                                                         find_grid,
                                                         resize_pos_embed)
from mmdino.models.backbones.pretrained import StrictPretrained, pretrained_cfg
from mmdino.registry import MODELS


@MODELS.register_module()
class VisionTransformer(StrictPretrained, _VisionTransformer):
    """mmpretrain's ``VisionTransformer`` with DINO's and DINOv2's semantics.

    Parameter names and arguments are those of mmpretrain, so that its
    checkpoints and tools work. The differences:

    - the initialisation: trunc_normal(.02) for all linear layers, the position
      embeddings and the class token;
    - position embeddings for images of other sizes, see
      :func:`resize_pos_embed`;
    - images whose sides are no multiples of the patch are an error; they are
      not padded;
    - methods that give tokens and attention.

    DINO's ViT-S is ``arch='deit-small'``, its ViT-B ``arch='deit-base'``.
    Those of DINOv2 (arXiv 2304.07193) have ``layer_scale_init_value=1e-5``,
    ``with_mask_token=True``, ``cls_token_std=1e-6`` and
    ``drop_path_uniform=True``. ViT-g also has
    ``layer_cfgs=dict(ffn_type='swiglu_fused')``: each half of SwiGLU is two
    thirds as wide as the arch's ``feedforward_channels``, rounded up to a
    multiple of 8.

    Training with masks calls the module itself, ``tokens, = backbone(images,
    mask, out_type='raw')``, because DDP, FSDP and torch.compile wrap
    ``forward`` only. :meth:`tokens` does the same for a network without such a
    wrapper.

    Args:
        arch: An arch of mmpretrain's ``VisionTransformer``.
        img_size: Height and width in pixels of the images that the position
            embeddings are stored for.
        patch_size: Height and width of a patch in pixels.
        in_channels: Channels of the images.
        pos_embed_mode: How position embeddings are resized for images of other
            sizes, a mode of :func:`resize_pos_embed`. Weights that were
            trained with another library's ViT may need its mode.
        stem: Config of a patch embedding, such as :class:`ConvStem`, that
            replaces the linear projection.
        num_registers: R, the number of registers: additional tokens without
            position embeddings whose output is not used (arXiv 2309.16588).
        with_mask_token: Add a token that replaces masked patches. It gets a
            gradient in every backward pass, which is zero without a mask.
        cls_token_std: Standard deviation of the initial class token: 0.02 in
            DINO and iBOT, 1e-6 in DINOv2.
        drop_path_uniform: Use ``drop_path_rate`` in every block. By default
            the rates rise linearly from 0 to it.
        drop_path_subset: Implement stochastic depth by :func:`add_of_subset`,
            which saves the computation of the images that a branch leaves out.
            It is worth it for rates above 0.1; below, selecting the images
            takes longer than what it saves.
        with_cp: Activation checkpointing: keep only the tokens between blocks
            for the backward pass, which computes each block again. It takes
            less memory and more time and gives the same gradients.
        **kwargs: mmpretrain's other arguments.

    Raises:
        ValueError: If ``img_size`` is no multiple of the patch size,
            ``with_cls_token`` is False, there is no such ``pos_embed_mode`` or
            ``num_registers`` is negative; in forward, if the images have other
            channels or a size that is no multiple of the patch size, or the
            mask has the wrong shape.
    """

    def __init__(self,
                 arch: str | dict = 'base',
                 img_size: int | tuple[int, int] = 224,
                 patch_size: int = 16,
                 in_channels: int = 3,
                 pos_embed_mode: str = 'offset',
                 stem: dict | None = None,
                 num_registers: int = 0,
                 with_mask_token: bool = False,
                 cls_token_std: float = .02,
                 drop_path_uniform: bool = False,
                 drop_path_subset: bool = False,
                 with_cp: bool = False,
                 **kwargs) -> None:
        img_size = tuple(to_2tuple(img_size))
        for side in img_size:
            _check_multiple('img_size', side, patch_size)
        if not kwargs.get('with_cls_token', True):
            raise ValueError('with_cls_token=False, but DINO needs a class '
                             'token: leave it out.')
        if pos_embed_mode not in POS_EMBED_MODES:
            raise ValueError(
                f'pos_embed_mode must be one of {POS_EMBED_MODES}, got '
                f'{pos_embed_mode!r}.')
        if num_registers < 0:
            raise ValueError(
                f'num_registers must be 0 or more, got {num_registers}.')
        if drop_path_uniform:
            kwargs['layer_cfgs'] = with_uniform_rate(
                kwargs.get('layer_cfgs', {}), kwargs.get('drop_path_rate', 0.))
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
        complete_stochastic_depth(self.layers)
        switch_blocks(self.layers, drop_path_subset, with_cp)
        if not self.final_norm:
            self.ln1 = nn.Identity()
        self.num_registers = num_registers
        self.num_extra_tokens = 1 + num_registers
        self.register_tokens = nn.Parameter(
            torch.zeros(1, num_registers,
                        self.embed_dims)) if num_registers else None
        self.mask_token = nn.Parameter(torch.zeros(
            1, self.embed_dims)) if with_mask_token else None
        # Freezes the tokens added here as well, if frozen_stages is set.
        self.train(self.training)
        self._register_state_dict_hook(_store_grid)
        self._pos_embed_cache = PosEmbedCache()
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.pos_embed_mode = pos_embed_mode
        self.cls_token_std = cls_token_std

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
        trunc_normal_(self.cls_token, std=self.cls_token_std)
        if self.register_tokens is not None:
            nn.init.normal_(self.register_tokens, std=1e-6)

    def train(self, mode: bool = True) -> 'VisionTransformer':
        """Switch between training and evaluation; frozen stages stay in eval
        mode."""
        super().train(mode)
        if self.frozen_stages > 0:
            self._freeze_stages()
        return self

    def forward(self,
                x: Tensor,
                mask: Tensor | None = None,
                out_type: str | None = None) -> tuple[Tensor, ...]:
        """Compute an output of images (B, C, H, W) for each of
        ``out_indices``.

        Args:
            x: Images, shape (B, C, H, W).
            mask: Bool (B, N), True at patches (in reading order) whose
                embeddings are replaced by the mask token.
            out_type: Return the output of the last block only, in this type.
                By default the network's ``out_indices`` and ``out_type`` are
                used.

        Returns:
            A tuple of one tensor for each block. By ``out_type`` it is
            'cls_token' (B, D), 'featmap' (B, D, h, w), 'avg_featmap' (B, D) or
            'raw', all tokens, (B, 1 + R + N, D). The output of the last block
            passes the final norm.
        """
        last = len(self.layers) - 1
        indices = self.out_indices if out_type is None else (last, )
        x, patch_resolution = self.embed(x, mask)
        outs = []
        for i in range(len(self.layers)):
            x = self.run_block(i, x, patch_resolution)
            if i == last:
                x = self.ln1(x)
            if i in indices:
                outs.append(self._format_output(x, patch_resolution, out_type))
        return tuple(outs)

    def tokens(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the tokens (B, 1 + R + N, D), through the final norm.

        With ``final_norm=False`` they are the output of the last block.

        Args:
            images: Shape (B, C, H, W).
            mask: As of :meth:`forward`.
        """
        return self(images, mask, out_type='raw')[0]

    def patch_grid(self, images: Tensor) -> tuple[int, int]:
        """Return the rows and columns (h, w) of the patches of images.

        The images are (B, C, H, W).
        """
        self._check_images(images)
        height, width = images.shape[-2:]
        return height // self.patch_size, width // self.patch_size

    def embed(self,
              x: Tensor,
              mask: Tensor | None = None) -> tuple[Tensor, tuple[int, int]]:
        """Embed images (B, C, H, W) as tokens (B, 1 + R + N, D) of a grid (h,
        w)."""
        self._check_images(x)
        x, grid = self.patch_embed(x)
        if mask is not None:
            x = self._mask_patches(x, mask)
        return self.join_tokens(x, self._resized_pos_embed(grid)), grid

    def join_tokens(self, patches: Tensor, pos_embed: Tensor) -> Tensor:
        """Build the input of the first block, tokens (B, 1 + R + N, D).

        Args:
            patches: Patch embeddings, shape (B, N, D).
            pos_embed: Position embeddings of the class token and the patches,
                shape (1, 1 + N, D); registers have none.
        """
        cls_token = self.cls_token + pos_embed[:, :1]
        if self.mask_token is not None:
            # Without masks this gives the mask token a zero gradient, for
            # which DDP would wait otherwise.
            cls_token = cls_token + 0 * self.mask_token
        parts = [cls_token.expand(patches.shape[0], -1, -1)]
        if self.register_tokens is not None:
            parts.append(self.register_tokens.expand(patches.shape[0], -1, -1))
        x = torch.cat([*parts, patches + pos_embed[:, 1:]], dim=1)
        return self.pre_norm(self.drop_after_pos(x))

    def run_block(self, i: int, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Run block ``i`` on tokens (B, 1 + R + N, D) of a grid (h, w)."""
        return self.layers[i](x)

    def last_blocks(self, x: Tensor, n: int = 1) -> list[Tensor]:
        """Compute the tokens of the last blocks, in the order of the network.

        Args:
            x: Images, shape (B, C, H, W).
            n: Number of blocks.

        Returns:
            For each block, (B, 1 + R + N, D), through the final norm, or with
            ``final_norm=False`` the output of the block.
        """
        x, grid = self.embed(x)
        outs = []
        for i in range(len(self.layers)):
            x = self.run_block(i, x, grid)
            if i >= len(self.layers) - n:
                outs.append(self.ln1(x))
        return outs

    def last_keys(self, x: Tensor) -> Tensor:
        """Compute the keys (B, 1 + R + N, D) of the last block's attention.

        D holds the keys of all heads, one after another. Keys separate objects
        from the background better than tokens do (arXiv 2109.14279, arXiv
        2112.05814).
        """
        x, _ = self._before_last_block(x)
        block = self.layers[-1]
        return block.attn.qkv(block.ln1(x)).chunk(3, dim=-1)[1]

    def last_attention(self, x: Tensor) -> Tensor:
        """Compute the attention (B, H, M, M) of the last block.

        There are M = 1 + R + N tokens, the class token first. Rows are the
        tokens that attend, columns those that they attend to.
        """
        return attention(self.layers[-1], self._before_last_block(x)[0])

    def class_attention(self, x: Tensor) -> Tensor:
        """Compute the class token's attention (B, H, h, w) in the last block.

        It sums to less than 1 over the patches, because the attention to the
        class token itself and to registers is left out.
        """
        return self._class_attention(*self._before_last_block(x))

    @contextmanager
    def recorded_attention(self) -> Iterator[list[Tensor]]:
        """Collect :meth:`class_attention` of all forward passes in a context.

        One pass then gives both features and attention. Each pass appends its
        maps (B, H, h, w) to the list.
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

    def get_layer_depth(self,
                        param_name: str,
                        prefix: str = '') -> tuple[int, int]:
        """Return the depth of a parameter and the number of depths.

        It serves learning rates that decay from layer to layer. The embeddings
        and all learned tokens have depth 0; what follows the blocks has the
        last depth.
        """
        name = param_name.removeprefix(prefix)
        if param_name.startswith(prefix) and name in ('register_tokens',
                                                      'mask_token'):
            return 0, self.num_layers + 2
        return super().get_layer_depth(param_name, prefix)

    def _freeze_stages(self) -> None:
        super()._freeze_stages()
        for token in ('register_tokens', 'mask_token'):
            if getattr(self, token, None) is not None:
                getattr(self, token).requires_grad = False

    def _format_output(self,
                       x: Tensor,
                       grid: tuple[int, int],
                       out_type: str | None = None) -> Tensor:
        """Convert tokens (B, 1 + R + N, D) to ``out_type``.

        By default that is the network's ``out_type``.
        """
        if out_type in (None, self.out_type):
            return super()._format_output(x, grid)
        if out_type == 'raw':
            return x
        if out_type == 'cls_token':
            return x[:, 0]
        if out_type == 'featmap':
            return x[:, self.num_extra_tokens:].mT.unflatten(2, grid)
        raise ValueError(
            f"out_type must be 'raw', 'cls_token', 'featmap' or the network's "
            f'own, {self.out_type!r}, got {out_type!r}')

    def _mask_patches(self, patches: Tensor, mask: Tensor) -> Tensor:
        """Replace patch embeddings (B, N, D) where the mask (B, N) is set."""
        if self.mask_token is None:
            raise ValueError(
                'This VisionTransformer has no mask token: build it with '
                'with_mask_token=True to give it masks.')
        check_mask(mask, *patches.shape[:2])
        return torch.where(mask[..., None], self.mask_token.to(patches.dtype),
                           patches)

    def _resized_pos_embed(self, grid: tuple[int, int]) -> Tensor:
        """Return position embeddings (1, 1 + h w, D) for a grid (h, w)."""
        resize = resize_pos_embed
        if not (self.training or torch.is_grad_enabled()
                or torch.compiler.is_compiling()):
            resize = self._pos_embed_cache.resize
        return resize(self.pos_embed, self.patch_resolution, grid,
                      self.pos_embed_mode)

    def _before_last_block(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Compute the last block's input (B, 1 + R + N, D) and the grid."""
        x, grid = self.embed(x)
        for i in range(len(self.layers) - 1):
            x = self.run_block(i, x, grid)
        return x, grid

    def _class_attention(self, x: Tensor, grid: tuple[int, int]) -> Tensor:
        """Compute :meth:`class_attention` from the last block's input."""
        row = attention(self.layers[-1], x, rows=1)[:, :, 0]
        return row[..., self.num_extra_tokens:].unflatten(-1, grid)

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, metadata: dict,
                           *args) -> None:
        """Resize loaded position embeddings to this model's ``img_size``.

        State dicts of this class store their grid as metadata, which is lost
        if the tensors are copied into another dict.
        """
        name = f'{prefix}pos_embed'
        loaded = state_dict.get(name)
        if loaded is None or loaded.shape[2:] != self.pos_embed.shape[2:]:
            return  # PyTorch reports missing weights and other widths
        own = tuple(self.patch_resolution)
        grid = find_grid(name, loaded, own, metadata.get('grid'))
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
    """Compute attention probabilities (B, H, n, M) of n of M tokens.

    Args:
        block: A block of mmpretrain's, with ``ln1`` and ``attn``.
        x: Input of the block, tokens of shape (B, M, D).
        rows: n, compute the attention of the first n tokens only; by default
            of all.
    """
    attn = block.attn
    qkv = attn.qkv(block.ln1(x)).unflatten(-1, (3, attn.num_heads, -1))
    q, k, _ = qkv.unbind(2)
    # If a qk_scale is given, mmpretrain binds a divisor to its attention
    # function.
    function = attn.scaled_dot_product_attention
    divisor = getattr(function, 'keywords', {}).get('scale')
    scale = 1 / divisor if divisor else attn.head_dims**-0.5
    scores = torch.einsum('bnhd,bmhd->bhnm', q[:, :rows], k) * scale
    return scores.softmax(dim=-1)


def _store_grid(vit: VisionTransformer, state_dict: dict, prefix: str,
                metadata: dict) -> None:
    """Store the patch grid in the state dict's metadata.

    The shape of the position embeddings gives only the number of patches.
    """
    metadata['grid'] = tuple(vit.patch_resolution)


def _check_multiple(name: str, size: int, patch_size: int) -> None:
    if size % patch_size:
        lower = size // patch_size * patch_size
        sizes = f'{lower} or {lower + patch_size}' if lower else patch_size
        raise ValueError(
            f'{name} {size} is not a multiple of the patch size {patch_size}: '
            f'use {sizes} pixels.')
