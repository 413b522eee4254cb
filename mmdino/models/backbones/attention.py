"""Attention and masks of a backbone with tokens: checks and timm's layers.

Letters: B images, H heads, N = h w patches, R registers and other tokens
between the class token and the patches, T = 1 + R + N tokens.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn as nn
from torch import Tensor


def require_attention(backbone: nn.Module) -> None:
    """Raise an error if a backbone gives no attention of a class token.

    Raises:
        ValueError: If the backbone is no ViT.
    """
    if not hasattr(backbone, 'class_attention'):
        raise ValueError(
            f'{type(backbone).__name__} gives no attention of a class token: '
            'it has no method class_attention. Use a ViT, such as '
            'mmdino.VisionTransformer.')
    if hasattr(backbone, 'require_attention'):
        backbone.require_attention()


def has_attention(backbone: nn.Module) -> bool:
    """Return whether :func:`require_attention` accepts a backbone."""
    try:
        require_attention(backbone)
    except ValueError:
        return False
    return True


def attention_layer(model: nn.Module) -> nn.Module | None:
    """Find the layer of a timm model in which the class token attends last.

    That is the layer of the last block or, in an XCiT, whose blocks attend
    over channels, of the last class-attention block.

    Returns:
        The layer, or None if the model has none whose weights can be read.
    """
    blocks = getattr(model, 'cls_attn_blocks', None) or getattr(
        model, 'blocks', None)
    layer = getattr(blocks[-1], 'attn', None) if blocks else None
    shown = ('fused_attn', 'attn_drop')
    return layer if all(hasattr(layer, name) for name in shown) else None


@contextmanager
def seen_weights(layer: nn.Module, see: Callable[[Tensor],
                                                 None]) -> Iterator[None]:
    """Call ``see`` with the attention weights of each pass of a timm layer.

    In this context the layer runs without torch's fused kernel, as with timm's
    ``AttentionExtract``. timm computes the weights itself, so that they
    include rotary and relative positions.

    Args:
        layer: A result of :func:`attention_layer`.
        see: Called with the weights (B, H, T, T), or (B, H, 1, T) of class
            attention.
    """
    fused = layer.fused_attn
    hook = layer.attn_drop.register_forward_hook(
        lambda _, inputs, output: see(inputs[0]))
    layer.fused_attn = False
    try:
        yield
    finally:
        layer.fused_attn = fused
        hook.remove()


def check_mask(mask: Tensor, num_images: int, num_patches: int) -> None:
    """Raise an error if a tensor is no mask (B, N) of patches.

    Raises:
        ValueError: If the tensor is not bool or has another shape.
    """
    shape = num_images, num_patches
    if mask.dtype != torch.bool or mask.shape != shape:
        raise ValueError(
            f'The mask must be bool of shape {shape}, images and patches in '
            f'reading order, got {mask.dtype} of shape {tuple(mask.shape)}.')
