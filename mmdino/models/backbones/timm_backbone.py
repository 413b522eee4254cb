"""Any timm model as a backbone that gives features, tokens or maps.

Letters: B images, C channels, N patch tokens, R registers and other tokens
between the class token and the patches, D features, H heads, (h, w) the patch
grid.
"""
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import signature

import timm
import torch
import torch.nn as nn
from mmengine.utils import to_2tuple
from mmpretrain.models.backbones.base_backbone import BaseBackbone
from timm.layers import PatchEmbed
from torch import Tensor

from mmdino.models.backbones.attention import (attention_layer, check_mask,
                                               seen_weights)
from mmdino.models.backbones.pretrained import StrictPretrained
from mmdino.registry import MODELS


@MODELS.register_module()
class TimmBackbone(StrictPretrained, BaseBackbone):
    """A timm model without its classifier: pooled features of width D.

    Multi-crop feeds images of several sizes, so models that fix their input
    size by default are built with timm's ``dynamic_img_size``. Some models
    have no such argument and accept one size only, such as BEiT, CaiT and
    MLP-Mixer. The pooling is timm's default for the model: the class token of
    a ViT or XCiT, the average of a convnet's last map. For BEiT, EVA-02 and
    DINOv3 timm averages as well; ``global_pool='token'`` gives the class
    token, with which they were trained.

    Tokens, masks and attention are available for models with a class token
    before the patch tokens. As with :class:`VisionTransformer`, training with
    masks calls ``tokens, = backbone(images, mask, out_type='raw')``.

    Args:
        model_name: A name of ``timm.list_models()``.
        pretrained: Download and load timm's weights.
        in_channels: Channels of the images.
        with_mask_token: Add a mask token (1, D), which timm's models lack. It
            replaces the embeddings of masked patches.
        **kwargs: Other arguments of ``timm.create_model``, such as
            ``drop_path_rate``.

    Attributes:
        embed_dims (int): Width D of the features.
        img_size (tuple[int, int]): Height and width in pixels of the images
            that the model was built for.

    Raises:
        ValueError: If timm does not know the model, or ``with_mask_token`` is
            set and the model's patches cannot be masked; in forward, if the
            model does not accept images of this size; in the methods for
            tokens, patches and attention, if the model has none.
    """

    def __init__(self,
                 model_name: str,
                 pretrained: bool = False,
                 in_channels: int = 3,
                 with_mask_token: bool = False,
                 init_cfg: dict | None = None,
                 **kwargs) -> None:
        super().__init__(init_cfg)
        if not timm.is_model(model_name):
            raise ValueError(
                f'timm {timm.__version__} has no model {model_name!r}; '
                "timm.list_models('*name*') lists its models.")
        create = partial(
            timm.create_model,
            model_name,
            pretrained=pretrained,
            in_chans=in_channels,
            num_classes=0,
            **kwargs)
        try:
            self.model = create(dynamic_img_size=True)
        except TypeError as error:  # e.g. a convnet takes any size anyway
            if 'dynamic_img_size' not in str(error):
                raise
            self.model = create()
        self.in_channels = in_channels
        # Not num_features: some models end with a wider layer after pooling.
        self.embed_dims = self.model.head_hidden_size
        self.model_name = model_name
        self.img_size = tuple(
            to_2tuple(
                kwargs.get('img_size')
                or self.model.pretrained_cfg['input_size'][-2:]))
        self.mask_token = None
        if with_mask_token:
            self._require_masks()
            self.mask_token = nn.Parameter(
                torch.zeros(1, self.model.embed_dim))
            self.model.patch_embed.register_forward_hook(self._mask_patches)
        self._mask: Tensor | None = None  # of the current forward pass
        # timm initialises its models in their constructors.
        self._is_init = init_cfg is None

    @property
    def num_extra_tokens(self) -> int:
        """Return the number of tokens before those of the patches, 1 + R."""
        self._require_tokens()
        return self.model.num_prefix_tokens

    def forward(self,
                x: Tensor,
                mask: Tensor | None = None,
                out_type: str | None = None) -> tuple[Tensor]:
        """Turn images (B, C, H, W) into pooled features ((B, D), ).

        Args:
            x: Images, shape (B, C, H, W).
            mask: Bool (B, N), True at patches (in reading order) whose
                embeddings are replaced by the mask token.
            out_type: None for pooled features, 'raw' for all tokens through
                the final norm.

        Returns:
            A tuple of one tensor, (B, D) or, with 'raw', (B, 1 + R + N, D).
        """
        if out_type is None:
            return self._run(lambda x: (self.model(x), ), x, mask)
        if out_type != 'raw':
            raise ValueError("out_type must be None, for pooled features, or "
                             f"'raw', for tokens, got {out_type!r}")
        extra = self.num_extra_tokens
        tokens = self._run(self.model.forward_features, x, mask)
        if mask is not None and tokens.shape[1] != extra + mask.shape[1]:
            raise ValueError(
                f"timm's {self.model_name} gives {tokens.shape[1] - extra} "
                f'tokens for {mask.shape[1]} patches: remove arguments that '
                'drop patches, such as patch_drop_rate.')
        return (tokens, )

    def tokens(self, images: Tensor, mask: Tensor | None = None) -> Tensor:
        """Compute the tokens (B, 1 + R + N, D), through the final norm.

        Args:
            images: Shape (B, C, H, W).
            mask: As of :meth:`forward`.
        """
        return self(images, mask, out_type='raw')[0]

    @property
    def patch_size(self) -> int:
        """Return the side of a patch in pixels."""
        size = getattr(
            getattr(self.model, 'patch_embed', None), 'patch_size', None)
        sides = {*to_2tuple(size)}
        if size is None or len(sides) > 1:
            raise AttributeError(f"timm's {self.model_name} has no square "
                                 'patches of one size.')
        return sides.pop()

    @property
    def num_layers(self) -> int:
        """Return the number of blocks."""
        return len(self.model.blocks)

    def patch_grid(self, images: Tensor) -> tuple[int, int]:
        """Return the rows and columns (h, w) of the patches of images.

        The images are (B, C, H, W).
        """
        self._require_tokens()
        embed = self.model.patch_embed
        if isinstance(embed, PatchEmbed):
            return tuple(embed.dynamic_feat_size(images.shape[-2:]))
        return tuple(side // self.patch_size for side in images.shape[-2:])

    def last_blocks(self, x: Tensor, n: int = 1) -> list[Tensor]:
        """Compute the tokens of the last ``n`` blocks, through the final norm.

        Args:
            x: Images, shape (B, C, H, W).
            n: Number of blocks.

        Returns:
            For each block, the last one at the end, (B, 1 + R + N, D).
        """
        self.require_blocks()
        extract = partial(
            self.model.forward_intermediates,
            indices=n,
            return_prefix_tokens=True,
            norm=True,
            output_fmt='NLC',
            intermediates_only=True)
        return [
            torch.cat([extra, patches], dim=1)
            for patches, extra in self._run(extract, x)
        ]

    def last_keys(self, x: Tensor) -> Tensor:
        """Compute the keys (B, 1 + R + N, D) of the last block's attention.

        D holds the keys of all heads, one after another. Rotary position
        embeddings are not applied to them.
        """
        self.require_keys()
        keys = []
        hook = attention_layer(self.model).k_norm.register_forward_hook(
            lambda _, inputs, output: keys.append(output))
        try:
            self._run(self.model.forward_features, x)
        finally:
            hook.remove()
        return keys[0].transpose(1, 2).flatten(2)

    def class_attention(self, x: Tensor) -> Tensor:
        """Compute the class token's attention (B, H, h, w) to the patches.

        It is taken from the last layer in which the class token attends to
        the patches.
        """
        with self.recorded_attention() as maps:
            self._run(self.model.forward_features, x)
        return maps[0]

    @contextmanager
    def recorded_attention(self) -> Iterator[list[Tensor]]:
        """Collect :meth:`class_attention` of all forward passes in a context.
        """
        self.require_attention()
        maps, grid = [], []

        def see_images(_, inputs: tuple[Tensor]) -> None:
            grid[:] = self.patch_grid(inputs[0])

        def see_weights(weights: Tensor) -> None:
            row = weights[:, :, 0]
            extra = self.num_extra_tokens
            if row.shape[-1] != extra + math.prod(grid):
                raise ValueError(
                    f"timm's {self.model_name} attends to {row.shape[-1]} "
                    f'tokens, not to {extra} and the {math.prod(grid)} '
                    'patches: its attention is no map of the image. Use '
                    'another model.')
            maps.append(row[..., extra:].unflatten(-1, grid))

        hook = self.model.patch_embed.register_forward_pre_hook(see_images)
        try:
            with seen_weights(attention_layer(self.model), see_weights):
                yield maps
        finally:
            hook.remove()

    def require_patches(self) -> None:
        """Raise an error if the model has no tokens of square patches."""
        self._require_tokens()
        if not hasattr(self, 'patch_size'):
            raise ValueError(f"timm's {self.model_name} has no square patches "
                             'of one size. Use a ViT.')

    def require_blocks(self) -> None:
        """Raise an error if the model gives no tokens of single blocks."""
        self._require_tokens()
        extract = getattr(self.model, 'forward_intermediates', None)
        if extract is None or 'return_prefix_tokens' not in signature(
                extract).parameters:
            raise ValueError(f"timm's {self.model_name} does not give the "
                             'class token of each block. Use a ViT.')

    def require_keys(self) -> None:
        """Raise an error if the model gives no keys of its patches."""
        self.require_blocks()
        if not hasattr(attention_layer(self.model), 'k_norm'):
            raise ValueError(f"timm's {self.model_name} does not give the "
                             "keys of its attention: use facet='token'.")

    def require_attention(self) -> None:
        """Raise an error if the model's class token attends to no patches."""
        self._require_tokens()
        if attention_layer(self.model) is None:
            raise ValueError(f"timm's {self.model_name} does not give the "
                             'attention of its class token. Use a ViT.')

    def _require_tokens(self) -> None:
        """Raise an error if the model gives no class token and patch tokens.
        """
        model = self.model
        if (getattr(model, 'cls_token', None) is None
                or not getattr(model, 'num_prefix_tokens', 0)):
            raise ValueError(
                f"timm's {self.model_name} gives no tokens: it has no class "
                'token before those of its patches. Use a ViT.')
        if isinstance(model.norm, nn.Identity):
            raise ValueError(
                f"timm's {self.model_name} pools its tokens before the final "
                "norm, so that single tokens have none: set "
                "global_pool='token'.")

    def _require_masks(self) -> None:
        """Raise an error if the model's patches cannot be masked one by one.
        """
        self._require_tokens()
        embed = getattr(self.model, 'patch_embed', None)
        if not isinstance(embed, PatchEmbed):
            raise ValueError(
                f"timm's {self.model_name} accepts no masks: "
                f'{type(embed).__name__} does not embed each patch on its '
                'own. Use a ViT.')

    def _check_mask(self, images: Tensor, mask: Tensor) -> None:
        if self.mask_token is None:
            raise ValueError(
                f"timm's {self.model_name} was built without a mask token: "
                'build it with with_mask_token=True to give it masks.')
        check_mask(mask, len(images), math.prod(self.patch_grid(images)))

    def _mask_patches(self, embed: nn.Module, images: tuple,
                      patches: Tensor) -> Tensor:
        """Replace masked patch embeddings, (B, N, D) or (B, h, w, D)."""
        mask, token = self._mask, self.mask_token.to(patches.dtype)
        if mask is None:
            return patches + 0 * token  # a gradient, if zero, for DDP
        return torch.where(mask.view(*patches.shape[:-1], 1), token, patches)

    def _run(self,
             function: Callable,
             x: Tensor,
             mask: Tensor | None = None) -> tuple[Tensor, ...] | Tensor:
        """Call a function, and explain errors of images of other sizes."""
        if mask is not None:
            self._check_mask(x, mask)
        size = tuple(x.shape[-2:])
        self._mask = mask
        try:
            return function(x)
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, RuntimeError, ValueError) as error:
            if size == self.img_size:
                raise
            raise ValueError(
                f"timm's {self.model_name}, built for images of "
                f'{self.img_size} (height, width), failed on {size}: {error}. '
                'Crop all views to a size that it accepts, or use a model '
                'that accepts several.') from error
        finally:
            self._mask = None


@MODELS.register_module()
class TimmFeatureMaps(TimmBackbone):
    """A :class:`TimmBackbone` that yields feature maps, for dense tasks.

    It has exactly the weights of ``TimmBackbone``. Layers that only the pooled
    features need, such as XCiT's class attention, get no gradient: training
    with DDP needs ``find_unused_parameters=True``.

    Args:
        model_name: A name of ``timm.list_models()``.
        out_indices: Indices, from 0, of the blocks (stages in convnets) whose
            maps are returned; by default all.
        **kwargs: Other arguments of ``TimmBackbone``.

    Raises:
        ValueError: If the model has no such block, or yields no maps.
    """

    def __init__(self,
                 model_name: str,
                 out_indices: Sequence[int] | None = None,
                 **kwargs) -> None:
        super().__init__(model_name, **kwargs)
        if not hasattr(self.model, 'forward_intermediates'):
            raise ValueError(f"timm's {model_name} yields no maps: it has no "
                             'method forward_intermediates. Use another '
                             'model.')
        self.out_indices = out_indices and list(out_indices)
        if out_indices:
            blocks = getattr(self.model, 'blocks', None)
            num_blocks = len(blocks or self.model.feature_info)
            if not set(out_indices) <= set(range(num_blocks)):
                raise ValueError(
                    f'out_indices={tuple(out_indices)}, but the blocks '
                    f'of {model_name} are 0 to {num_blocks - 1}.')

    def forward(self,
                x: Tensor,
                mask: Tensor | None = None,
                out_type: str | None = None) -> tuple[Tensor, ...]:
        """Turn images (B, C, H, W) into maps, each (B, D_i, h_i, w_i).

        ``mask`` and ``out_type`` are those of :class:`TimmBackbone`.
        """
        if out_type is not None:
            return super().forward(x, mask, out_type)
        extract = partial(
            self.model.forward_intermediates,
            indices=self.out_indices,
            intermediates_only=True)
        return tuple(self._run(extract, x, mask))
