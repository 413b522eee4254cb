"""A loss that keeps patch tokens near those of the start of a training."""
import torch
import torch.nn as nn
from torch import Tensor

from mmdino.functional.anchor import gram_distance, patch_distance
from mmdino.functional.losses import at_least_float32
from mmdino.registry import MODELS


@MODELS.register_module()
class AnchorLoss(nn.Module):
    """Distance of patch tokens from those of the frozen, untrained backbone.

    See :func:`.patch_distance` and :func:`.gram_distance`.

    Args:
        cosine_weight: Weight of the tokens' own distance.
        gram_weight: Weight of that of their Gram matrices.

    Raises:
        ValueError: If a weight is negative, or both are 0.
    """

    def __init__(self,
                 cosine_weight: float = 1.,
                 gram_weight: float = 1.) -> None:
        super().__init__()
        if min(cosine_weight,
               gram_weight) < 0 or not (cosine_weight + gram_weight):
            raise ValueError(
                'AnchorLoss: weights must be >= 0 and one of them > 0, got '
                f'cosine_weight={cosine_weight}, gram_weight={gram_weight}')
        self.cosine_weight = cosine_weight
        self.gram_weight = gram_weight

    def forward(self,
                tokens: Tensor,
                base: Tensor,
                visible: Tensor | None = None) -> Tensor:
        """Compare tokens (C, N, D) with those of the frozen backbone.

        Args:
            tokens: The student's, shape (C, N, D).
            base: Those of the start, of the same crops.
            visible: Boolean (C, N), which count; by default all.

        Returns:
            A scalar, 0 at the start.
        """
        tokens, base = at_least_float32(tokens), at_least_float32(base)
        if visible is None:
            visible = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        with torch.autocast(tokens.device.type, enabled=False):
            return (
                self.cosine_weight * patch_distance(tokens, base, visible) +
                self.gram_weight * gram_distance(tokens, base, visible))
