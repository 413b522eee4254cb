"""Classification of frozen features with few labels.

Caron et al. 2021 (arXiv 2104.14294), appendix: logistic regression on 1% and
10% of ImageNet's labels.

Letters: N images with labels, Q queries, D features.
"""
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdino.functional.finite import require_finite


def logistic_regression(features: Tensor,
                        labels: Tensor,
                        queries: Tensor,
                        C: float,
                        max_iter: int = 1000) -> tuple[Tensor, bool]:
    """Fit a logistic regression and rank the classes of the queries.

    The features are scaled to unit length. The fit minimises ``C`` times the
    summed cross-entropy plus half the squared norm of the weights
    (scikit-learn's ``LogisticRegression``).

    Args:
        features: (N, D), to fit.
        labels: (N,) integers, of at least two classes.
        queries: (Q, D), to classify.
        C: Inverse strength of the regularisation.
        max_iter: Largest number of L-BFGS iterations.

    Returns:
        The labels of all classes for each query, (Q, number of classes), the
        most probable first, and whether the fit converged.

    Raises:
        ValueError: If the labels are all of one class, or a feature is not
            finite.
    """
    from sklearn.linear_model import LogisticRegression  # a slow import
    if len(labels.unique()) < 2:
        raise ValueError('Logistic regression needs images of at least two '
                         f'classes, got {labels.unique().tolist()}.')
    require_finite(features, 'gallery features')
    require_finite(queries, 'query features')
    model = LogisticRegression(C=C, max_iter=max_iter)
    model.fit(F.normalize(features).numpy(), labels.numpy())
    scores = model.decision_function(F.normalize(queries).numpy())
    if scores.ndim == 1:  # of two classes, only the second's score is given
        scores = torch.from_numpy(scores)[:, None] * torch.tensor([-1, 1])
    order = torch.as_tensor(scores).argsort(dim=1, descending=True)
    ranked = torch.from_numpy(model.classes_)[order]
    return ranked, bool(model.n_iter_.max() < max_iter)


def balanced_split(labels: Sequence[int], fraction: float,
                   seed: int) -> list[int]:
    """Choose the same share of each class, at least one image of each.

    The choice depends on the arguments alone: NumPy's ``RandomState`` draws
    the same numbers on all machines and in all versions.

    Args:
        labels: Labels of all images.
        fraction: Share of each class to choose, in (0, 1].
        seed: Seed of the random choice.

    Returns:
        Indices of the chosen images, rising.

    Raises:
        ValueError: If ``fraction`` is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f'fraction must be in (0, 1], got {fraction}.')
    labels = np.asarray(labels)
    random = np.random.RandomState(seed)
    chosen: list[int] = []
    for label in np.unique(labels):
        places = np.flatnonzero(labels == label)
        count = max(1, round(fraction * len(places)))
        chosen += random.permutation(places)[:count].tolist()
    return sorted(chosen)
