"""A loss that keeps patch tokens near those of the start of a training.

Letters: C crops, N patches, D features.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from mmdino.functional.losses import at_least_float32
from mmdino.registry import MODELS


def patch_distance(tokens: Tensor, others: Tensor, visible: Tensor) -> Tensor:
    """Compute the mean cosine distance between two sets of patch tokens.

    The distance of a patch is 1 - cosine of its two tokens.

    Args:
        tokens: Shape (C, N, D), not normalised.
        others: Tokens of the same patches, same shape.
        visible: Boolean (C, N), the patches to average over.
    """
    distance = 1 - F.cosine_similarity(tokens, others, dim=-1)
    return (distance * visible).sum() / visible.sum().clamp(min=1)


def gram_distance(tokens: Tensor, others: Tensor, visible: Tensor) -> Tensor:
    """Mean squared difference of the cosines between patches of a crop.

    It compares the Gram matrices (N, N) of tokens of unit length, as DINOv3
    does (arXiv 2508.10104, sec. 4.1). A rotation of all tokens costs nothing;
    a change of the similarities between patches does.

    Args:
        tokens: Shape (C, N, D).
        others: Tokens of the same patches, same shape.
        visible: Boolean (C, N); only pairs of visible patches count.
    """
    ours, theirs = (
        F.normalize(t, dim=-1) * visible[..., None] for t in (tokens, others))
    difference = torch.bmm(ours, ours.mT) - torch.bmm(theirs, theirs.mT)
    pairs = visible.sum(1).square().sum().clamp(min=1)
    return difference.square().sum() / pairs


@MODELS.register_module()
class AnchorLoss(nn.Module):
    """Distance of patch tokens from those of the backbone before training.

    Args:
        cosine_weight: Weight of :func:`.patch_distance`.
        gram_weight: Weight of :func:`.gram_distance`.

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
                f'cosine_weight={cosine_weight}, gram_weight={gram_weight}.')
        self.cosine_weight = cosine_weight
        self.gram_weight = gram_weight

    def forward(self,
                tokens: Tensor,
                base: Tensor,
                visible: Tensor | None = None) -> Tensor:
        """Compare tokens (C, N, D) with those of the frozen backbone.

        Args:
            tokens: The student's patch tokens, shape (C, N, D).
            base: Patch tokens of the frozen backbone for the same crops.
            visible: Boolean (C, N), the patches to compare; by default all.

        Returns:
            Scalar, 0 if the tokens are equal.
        """
        tokens, base = at_least_float32(tokens), at_least_float32(base)
        if visible is None:
            visible = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        with torch.autocast(tokens.device.type, enabled=False):
            return (
                self.cosine_weight * patch_distance(tokens, base, visible) +
                self.gram_weight * gram_distance(tokens, base, visible))
