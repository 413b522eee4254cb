"""Attention and masks of a backbone with tokens: checks and timm's layers.

B images, H heads, T = 1 + R + N tokens: the class token, R registers and
others before the patches, N = h w patches; D features.
"""
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.nn as nn
from torch import Tensor


def require_attention(backbone: nn.Module) -> None:
    """Raise an error if a backbone gives no attention of a class token.

    Raises:
        ValueError: If it is no ViT.
    """
    if not hasattr(backbone, 'class_attention'):
        name = type(backbone).__name__
        raise ValueError(
            f'{name} has no class token to look through. Attention needs a '
            'backbone with the method class_attention, such as '
            f'mmdino.VisionTransformer; {name} has none.')
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

    That of the last block; of an XCiT, whose blocks attend over channels, of
    the last block of class attention. None if timm shows no softmax of it.
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

    Their shape is (B, H, T or 1, T).

    It runs without torch's fused kernel meanwhile, as timm's own
    ``AttentionExtract`` has it, so that rotary and relative positions are
    timm's, too.
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
    """Refuse what is no mask (B, N).

    Raises:
        ValueError: If it is not bool or of another shape.
    """
    shape = num_images, num_patches
    if mask.dtype != torch.bool or mask.shape != shape:
        raise ValueError(
            f'The mask must be bool of shape {shape}, images and patches in '
            f'reading order, got {mask.dtype} of {tuple(mask.shape)}.')
