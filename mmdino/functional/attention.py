"""How well the class token's attention covers the objects of an image.

Caron et al. 2021 (arXiv 2104.14294), section 4.2.2 and figure 4: the heads of
the last block, each kept to the patches that hold 60% of its attention, are
compared with the objects of PASCAL VOC12.

Letters: H heads, (h, w) the patch grid, O objects.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdino.functional.finite import require_finite


def mass_threshold(attention: Tensor, mass: float = 0.6) -> Tensor:
    """Keep the strongest patches that hold a share of each head's attention.

    As in the authors' code, the patches are sorted by rising attention, and
    those at which the cumulative share exceeds 1 - mass are kept. Of patches
    with equal attention, the later ones in reading order are kept.

    Args:
        attention: (H, h, w) non-negative, of any scale.
        mass: Fraction of the attention to keep, in (0, 1].

    Returns:
        (H, h, w) bool, True where a patch is kept.

    Raises:
        ValueError: If ``mass`` is not in (0, 1], or the attention of a head
            is not finite.
    """
    if not 0 < mass <= 1:
        raise ValueError(f'mass must be in (0, 1], got {mass}.')
    require_finite(attention, 'attention maps')
    flat = attention.flatten(1).double()
    rising, order = flat.sort(dim=1, stable=True)
    share = rising.cumsum(dim=1) / rising.sum(dim=1, keepdim=True)
    kept = torch.zeros_like(flat, dtype=torch.bool)
    return kept.scatter_(1, order, share > 1 - mass).view(attention.shape)


def attention_jaccard(attention: Tensor,
                      mask: Tensor,
                      mass: float = 0.6,
                      ignore_index: int = 255) -> Tensor:
    """Compute the Jaccard index of each object with the best attention head.

    Args:
        attention: (H, h, w) class-token attention over the patches.
        mask: (H', W') integers: 0 is background, each object has a number of
            its own.
        mass: Fraction of the attention kept, see :func:`mass_threshold`.
        ignore_index: Pixels with this number are left out.

    Returns:
        (O,) float64 fractions, sorted by the objects' numbers.

    Raises:
        ValueError: If ``attention`` is not (H, h, w) or ``mask`` not
            (H', W'), or as in :func:`mass_threshold`.
    """
    if attention.ndim != 3 or mask.ndim != 2:
        raise ValueError(
            'attention must be (heads, h, w) and the mask (H, W), got '
            f'{tuple(attention.shape)} and {tuple(mask.shape)}.')
    kept = mass_threshold(attention, mass)
    kept = F.interpolate(kept[None].float(), mask.shape, mode='nearest')[0] > 0
    mask = mask.long()  # in uint8, an ignore_index of -1 would match 255
    valid = mask != ignore_index
    numbers = mask[valid & (mask != 0)].unique()
    objects = mask[valid] == numbers[:, None]  # (O, pixels)
    heads = kept[:, valid]  # (H, pixels)
    both = objects.double() @ heads.double().t()  # (O, H)
    either = objects.sum(dim=1)[:, None] + heads.sum(dim=1) - both
    return (both / either).amax(dim=1)
