"""RankMe: the effective rank of features, which needs no labels.

N images, D features.
"""
import torch
from torch import Tensor

from mmdino.functional.finite import require_finite

EPS = 1e-7  # as in the paper


def rankme(features: Tensor) -> float:
    r"""Compute RankMe, the effective rank of features (Garrido et al. 2023).

    .. math:: \exp\left(-\sum_k p_k \log p_k\right), \quad
        p_k = \frac{\sigma_k}{\sum_j \sigma_j} + 10^{-7}

    with the singular values :math:`\sigma` of the features, which are not
    centred. The rank is 1 if the features of all images are multiples of one
    vector, and at most min(N, D). It is computed in float64. If N > D, the
    singular values are the square roots of the eigenvalues of the D x D
    matrix X^T X; their error is about 1e-8 of the largest, below epsilon.

    Args:
        features: Shape (N, D).

    Returns:
        The effective rank, between 1 and min(N, D) up to the epsilon.

    Raises:
        ValueError: If there are no features, or one is not finite.

    Source: https://arxiv.org/abs/2210.02885
    """
    if features.ndim != 2 or not features.numel():
        raise ValueError('RankMe needs features of shape (N, D), at least '
                         f'one, got {tuple(features.shape)}.')
    require_finite(features, 'features')
    features = features.double()
    if len(features) > features.shape[1]:
        squares = torch.linalg.eigvalsh(features.T @ features)
        values = squares.clamp(min=0).sqrt()
    else:
        values = torch.linalg.svdvals(features)
    shares = values / values.sum().clamp(min=EPS) + EPS
    return float((-shares * shares.log()).sum().exp())
