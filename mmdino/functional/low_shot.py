"""Classification of frozen features with few labels.

Caron et al. 2021 (arXiv 2104.14294), appendix: logistic regression on 1% and
10% of ImageNet's labels. N images with labels, Q queries, D features, C
classes.
"""
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def logistic_regression(features: Tensor,
                        labels: Tensor,
                        queries: Tensor,
                        C: float,
                        max_iter: int = 1000) -> tuple[Tensor, bool]:
    """Fit a logistic regression and rank the classes of the queries.

    It minimises C x the summed cross-entropy + half the squared norm of the
    weights, over features of unit length.

    Args:
        features, queries: (N, D) and (Q, D).
        labels: (N,) integers, of at least two classes.
        C: Inverse strength of the regularisation.
        max_iter: Steps of L-BFGS at most.

    Returns:
        (Q, C) class labels, the most probable first, and whether the fit
        converged.
    """
    from sklearn.linear_model import LogisticRegression  # a slow import
    if len(labels.unique()) < 2:
        raise ValueError('Logistic regression needs images of at least two '
                         f'classes, got {labels.unique().tolist()}.')
    model = LogisticRegression(C=C, max_iter=max_iter)
    model.fit(F.normalize(features).numpy(), labels.numpy())
    scores = model.decision_function(F.normalize(queries).numpy())
    if scores.ndim == 1:  # two classes: the score is the second one's
        scores = torch.from_numpy(scores)[:, None] * torch.tensor([-1, 1])
    order = torch.as_tensor(scores).argsort(dim=1, descending=True)
    ranked = torch.from_numpy(model.classes_)[order]
    return ranked, bool(model.n_iter_.max() < max_iter)


def balanced_split(labels: Sequence[int], fraction: float,
                   seed: int) -> list[int]:
    """Choose the same share of each class, at least one image of each.

    The choice depends on the arguments alone: NumPy keeps the stream of its
    RandomState the same on all machines and versions.

    Args:
        labels: Of all images.
        fraction: Share of each class, in (0, 1].
        seed: Chooses another split.

    Returns:
        Places of the chosen images, rising.
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
