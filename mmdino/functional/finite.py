"""The check that features are finite numbers, before they are compared."""
import torch
from torch import Tensor


def require_finite(features: Tensor, what: str) -> None:
    """Raise an error if features are NaN or infinite.

    Args:
        features: (N, ...) N features of any shape.
        what: What they are in plural, for the message, such as 'query
            features'.

    Raises:
        ValueError: If some are not finite; says how many.
    """
    # Test the sums of the rows: isfinite(features) would need a mask as large
    # as all features. Sums of half precision could overflow.
    dtype = torch.promote_types(features.dtype, torch.float32)
    sums = features.flatten(1).sum(dim=1, dtype=dtype)
    bad = int((~sums.isfinite()).sum())
    if bad:
        raise ValueError(
            f'{bad} of {len(features)} {what} are not finite: the network has '
            'diverged or an image is broken. Check the checkpoint and the '
            'images.')
