"""Distances between the patch tokens of a network and of its frozen start.

C crops, N patches, D features.
"""
import torch
import torch.nn.functional as F
from torch import Tensor


def patch_distance(tokens: Tensor, others: Tensor, visible: Tensor) -> Tensor:
    """Compute the mean cosine distance between two sets of patch tokens.

    The distance of a patch is 1 - cosine of its two tokens.

    Args:
        tokens: Shape (C, N, D), of any length.
        others: As many.
        visible: Boolean (C, N).
    """
    distance = 1 - F.cosine_similarity(tokens, others, dim=-1)
    return (distance * visible).sum() / visible.sum().clamp(min=1)


def gram_distance(tokens: Tensor, others: Tensor, visible: Tensor) -> Tensor:
    """Mean squared difference of the cosines between patches of a crop.

    That is the difference of Gram matrices (N, N) of tokens of unit length,
    as in DINOv3 (arXiv 2508.10104, sec. 4.1): the tokens may turn, what is
    like what may not change.

    Args:
        tokens: Shape (C, N, D).
        others: As many.
        visible: Boolean (C, N); pairs of visible patches count.
    """
    ours, theirs = (
        F.normalize(t, dim=-1) * visible[..., None] for t in (tokens, others))
    difference = torch.bmm(ours, ours.mT) - torch.bmm(theirs, theirs.mT)
    pairs = visible.sum(1).square().sum().clamp(min=1)
    return difference.square().sum() / pairs
