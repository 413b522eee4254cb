"""What every backbone with a mask token asks of masks.

B images, N patches.
"""
import torch
from torch import Tensor


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
