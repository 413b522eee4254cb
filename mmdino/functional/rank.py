"""RankMe: the effective rank of features, which needs no labels.

N images, D features.
"""
import torch
from torch import Tensor

EPS = 1e-7  # the authors'


def rankme(features: Tensor) -> float:
    r"""Compute RankMe, the effective rank of features (Garrido et al. 2023).

    .. math:: \exp\left(-\sum_k p_k \log p_k\right), \quad
        p_k = \frac{\sigma_k}{\sum_j \sigma_j} + 10^{-7}

    with the singular values :math:`\sigma` of the features as they are, not
    centred. 1 where all images have the same feature up to a factor, at most
    min(N, D). Computed in float64, from the D x D products where N is larger:
    their square roots are exact to 1e-8 of the largest value, below the
    authors' epsilon.

    Args:
        features: Shape (N, D).

    Returns:
        Between 1 and min(N, D), but for the epsilon.

    Raises:
        ValueError: If there are none, or one is not finite.

    Source: https://arxiv.org/abs/2210.02885
    """
    if features.ndim != 2 or not features.numel():
        raise ValueError('RankMe takes features (N, D), got a shape of '
                         f'{tuple(features.shape)}.')
    if not features.isfinite().all():
        raise ValueError('RankMe got features that are not finite.')
    features = features.double()
    if len(features) > features.shape[1]:
        squares = torch.linalg.eigvalsh(features.T @ features)
        values = squares.clamp(min=0).sqrt()
    else:
        values = torch.linalg.svdvals(features)
    shares = values / values.sum().clamp(min=EPS) + EPS
    return float((-shares * shares.log()).sum().exp())
