"""Whitening of features, learnt on images of their own (PCA whitening).

As in copy detection of arXiv 2104.14294, section 4.2.1, after Tolias et al.
2015 (arXiv 1511.05879). N images, D features.
"""
from typing import NamedTuple

import torch
from torch import Tensor


class Whitening(NamedTuple):
    """x -> projection (x - mean).

    Attributes:
        mean: (D,) float64, of the features it was learnt on.
        projection: (D, D) float64, its rows by falling eigenvalue.
    """
    mean: Tensor
    projection: Tensor


def learn_whitening(features: Tensor, floor: float = 1e-5) -> Whitening:
    """Learn from features what makes their second moment the identity.

    As in the authors' code the mean is subtracted when the whitening is
    applied, while the covariance it is learnt from is not centred:
    C = sum x x^T / N = V diag(e) V^T gives the projection
    diag(e)^(-1/2) V^T, hence projection C projection^T = I.

    Eigenvalues below ``floor`` times the largest are raised to that, so that
    directions that the images do not show, as with N < D, are not blown up.

    Args:
        features: (N, D).
        floor: Smallest eigenvalue as a fraction of the largest.

    Raises:
        ValueError: If there is no image, or all features are 0 or one is not
            finite.
    """
    features = features.double()
    if not len(features) or not features.any():
        raise ValueError(
            'Whitening needs features to learn from, got '
            f'{tuple(features.shape)}' +
            (', all of them 0.' if len(features) else ': no image.'))
    if not features.isfinite().all():
        raise ValueError('Whitening got features that are not finite: look '
                         'at the checkpoint.')
    values, vectors = torch.linalg.eigh(features.t() @ features /
                                        len(features))
    values = values.clamp(min=floor * values.max()).flip(0)
    projection = vectors.flip(1).t() / values.sqrt()[:, None]
    return Whitening(features.mean(dim=0), projection)


def whiten(features: Tensor, whitening: Whitening) -> Tensor:
    """Apply a whitening to features (N, D); float64."""
    centered = features.double() - whitening.mean
    return centered @ whitening.projection.t()
