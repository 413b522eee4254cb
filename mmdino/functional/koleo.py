"""The KoLeo regulariser, which spreads features evenly.

B images, N images of all ranks, D features.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8  # the authors', at every division and logarithm


def nearest_distances(vectors: Tensor,
                      everyone: Tensor,
                      first: int = 0) -> Tensor:
    """Compute the distance of each unit vector to its nearest neighbour.

    Which one is the nearest has no gradient; the distance has one, to both.

    Args:
        vectors: Shape (B, D), scaled to unit length here.
        everyone: Shape (N, D), N >= 2, the B vectors among them.
        first: Place of the first of the B vectors among the N.

    Returns:
        Shape (B, ), at most 2; 1e-8 sqrt(D) for a vector that is there twice.
    """
    vectors = F.normalize(vectors, eps=EPS, dim=-1)
    everyone = F.normalize(everyone, eps=EPS, dim=-1)
    with torch.no_grad():
        similarities = vectors @ everyone.t()
        similarities.diagonal(first).fill_(-1)
        nearest = similarities.argmax(1)
    return F.pairwise_distance(vectors, everyone[nearest], eps=EPS)


def koleo(distances: Tensor) -> Tensor:
    r"""Compute the Kozachenko-Leonenko estimate of minus the entropy.

    .. math:: -\frac{1}{B} \sum_b \log (d_b + 10^{-8})

    Sablayrolles et al. 2019 (arXiv 1806.03198, Eq. 3), Oquab et al. 2023
    (arXiv 2304.07193, section 4). Without the logarithm of B, a constant.

    Args:
        distances: d (B, ), of :func:`nearest_distances`.
    """
    return -(distances + EPS).log().mean()
