"""Classes of patches and pixels: labels, classifiers and scores.

Letters: P patches, Q query patches, D features, C classes, (h, w) the patch
grid, (H, W) pixels.
"""
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdino.functional.knn import nearest_neighbours


def patch_labels(mask: Tensor, grid: tuple[int, int], patch: int) -> Tensor:
    """Find the most frequent value of a mask (H, W) in each patch.

    The mask is first resized by nearest neighbours to the size of the grid in
    pixels. Of equally frequent values, the lowest is taken.

    Args:
        mask: (H, W) integers.
        grid: (h, w).
        patch: Side of a patch in pixels.

    Returns:
        (h, w), int64.
    """
    size = (grid[0] * patch, grid[1] * patch)
    # interpolate takes floats only; float64 holds every label exactly.
    pixels = F.interpolate(mask[None, None].double(), size, mode='nearest')
    blocks = pixels[0, 0].long().unflatten(0, (grid[0], patch)).unflatten(
        2, (grid[1], patch))
    return blocks.transpose(1, 2).flatten(2).mode(dim=2).values


def knn_scores(queries: Tensor,
               gallery: Tensor,
               labels: Tensor,
               num_classes: int,
               k: int = 20,
               temperature: float = 0.07) -> Tensor:
    """Compute the votes (Q, C) of the k nearest patches, which sum to 1.

    Args:
        queries: (Q, D), compared by cosine.
        gallery: (P, D).
        labels: (P, ) labels of the gallery, in [0, C).
        num_classes: Number of classes C.
        k: Number of neighbours.
        temperature: Votes are exp(similarity / temperature).
    """
    similarities, places = nearest_neighbours(queries, gallery, k)
    weights = ((similarities - similarities[:, :1]) / temperature).exp()
    votes = weights.new_zeros(len(queries), num_classes)
    votes.scatter_add_(1, labels[places], weights)
    return votes / votes.sum(dim=1, keepdim=True)


def ridge_classifier(features: Tensor,
                     labels: Tensor,
                     num_classes: int,
                     penalty: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Fit a linear classifier by ridge regression on one-hot labels.

    The features are standardised for the fit, which runs in float64; the
    result applies to the original features.

    Args:
        features: (P, D).
        labels: (P, ) in [0, C).
        num_classes: Number of classes C.
        penalty: Weight of the squared norm of the weights, relative to the
            mean squared error over patches.

    Returns:
        Weight (C, D) and bias (C, ).
    """
    features = features.double()
    mean = features.mean(dim=0)
    scale = features.std(dim=0, correction=0).clamp(min=1e-9)
    rows = (features - mean) / scale
    targets = F.one_hot(labels, num_classes).double()
    centre = targets.mean(dim=0)
    gram = rows.T @ rows / len(rows)
    gram.diagonal().add_(penalty)
    weight = torch.linalg.solve(gram, rows.T @ (targets - centre) / len(rows))
    weight = weight.T / scale
    return weight, centre - weight @ mean


def pixel_classes(scores: Tensor, size: tuple[int, int]) -> Tensor:
    """Upsample scores (C, h, w) bilinearly and choose classes (H, W)."""
    scores = F.interpolate(
        scores[None].float(), size, mode='bilinear', align_corners=False)
    return scores[0].argmax(dim=0)


def confusion(predicted: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Compute the confusion matrix (C, C), indexed (truth, predicted).

    Args:
        predicted: Classes in [0, C), of any shape.
        truth: Classes of the same shape; pixels outside [0, C) are left out.
        num_classes: Number of classes C.
    """
    counts = (truth >= 0) & (truth < num_classes)
    pairs = truth[counts] * num_classes + predicted[counts]
    return torch.bincount(
        pairs, minlength=num_classes**2).view(num_classes, num_classes)


def segmentation_scores(matrix: Tensor) -> dict[str, float]:
    """Compute the mean IoU and the pixel accuracy, in percent.

    Args:
        matrix: (C, C), see :func:`confusion`. Classes that occur neither in
            the truth nor in the prediction do not count in the mean.

    Returns:
        ``miou`` and ``accuracy``.
    """
    matrix = matrix.double()
    hits, union = matrix.diagonal(), matrix.sum(0) + matrix.sum(1)
    union = union - hits
    there = union > 0
    return dict(
        miou=100 * float((hits[there] / union[there]).mean()),
        accuracy=100 * float(hits.sum() / matrix.sum()))
