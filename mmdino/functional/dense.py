"""Principal components, matches and objects from patch features.

Letters: N patches, D features, (h, w) the patch grid. Boxes are (top, left,
bottom, right) in patches or pixels; bottom and right are exclusive.
"""
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdino.functional.finite import require_finite


class Components(NamedTuple):
    """Principal components of a set of features.

    Attributes:
        mean: (D, ).
        axes: (n, D), orthonormal, the largest variance first.
        share: (n, ), the fraction of the variance along each axis.
    """
    mean: Tensor
    axes: Tensor
    share: Tensor

    def project(self, features: Tensor) -> Tensor:
        """Compute the coordinates (..., n) of features (..., D) on the axes.
        """
        return (features - self.mean) @ self.axes.T


def principal_components(features: Tensor, n: int = 3) -> Components:
    """Find the n directions in which features (N, D) vary most.

    The entry of largest magnitude of each direction is positive, so that the
    sign does not change from run to run.

    Raises:
        ValueError: If there are fewer than ``n`` + 1 features, ``n`` is
            more than D, or a feature is not finite.
    """
    if not 1 <= n <= features.shape[1] or len(features) <= n:
        raise ValueError(f'{n} principal components need more than {n} '
                         f'features of width {n} or more, got '
                         f'{tuple(features.shape)}.')
    require_finite(features, 'patch features')
    features = features.double()
    mean = features.mean(dim=0)
    centred = features - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred)
    axes = vectors.T.flip(0)[:n]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    share = values.flip(0)[:n] / values.sum().clamp(min=1e-300)
    return Components(mean, axes * largest.sign(), share)


def mutual_nearest(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Find pairs of features that are each other's nearest by cosine.

    Args:
        first: (N, D).
        second: (M, D).

    Returns:
        Indices (P, 2) into ``first`` and ``second``, the most similar pair
        first, and the cosine similarities (P, ) of the P pairs.

    Raises:
        ValueError: If a feature is not finite.
    """
    for features in (first, second):
        require_finite(features, 'patch features')
    alike = F.normalize(first, dim=1) @ F.normalize(second, dim=1).T
    there, back = alike.argmax(dim=1), alike.argmax(dim=0)
    here = torch.arange(len(first), device=first.device)
    here = here[back[there] == here]
    values, order = alike[here, there[here]].sort(descending=True, stable=True)
    here = here[order]
    return torch.stack([here, there[here]], dim=1), values


def binned_descriptors(maps: Tensor, levels: int = 2) -> Tensor:
    """Append to each patch the mean features of the regions around it.

    The context tells apart patches that look alike (Amir et al. 2021, arXiv
    2112.05814, section 3.2). Level i averages the features over squares of
    3^i patches a side and appends the eight squares around the patch's own.
    Beyond the border of the map, the nearest patch is repeated.

    Args:
        maps: (D, h, w).
        levels: Number of levels, i = 0, ..., levels - 1.

    Returns:
        ((8 levels + 1) D, h, w), the features of the patch itself first.
    """
    height, width = maps.shape[1:]
    bins = [maps]
    for level in range(levels):
        size = 3**level
        reach = size + size // 2
        padded = F.pad(maps[None], [reach] * 4, mode='replicate')
        means = F.avg_pool2d(padded, size, stride=1)[0]
        bins += [
            means[:, y:y + height, x:x + width] for y in (0, size, 2 * size)
            for x in (0, size, 2 * size) if (y, x) != (size, size)
        ]
    return torch.cat(bins)


def lost_box(features: Tensor,
             grid: tuple[int, int],
             seeds: int = 100) -> tuple[int, int, int, int]:
    """Find the box of one object in an image without labels, by LOST.

    LOST, Siméoni et al. 2021 (arXiv 2109.14279), section 3. Two patches are
    similar if the dot product of their features is not negative. The seed is
    the patch that is similar to the fewest patches; it is assumed to lie on
    an object. Of the ``seeds`` patches that are similar to the fewest, those
    similar to the seed join it. The object is then made of the patches whose
    summed dot product with all of these is not negative, restricted to the
    connected component that contains the seed.

    Args:
        features: (h w, D), such as the last block's keys.
        grid: (h, w).
        seeds: Number of candidates that may join the seed, k of the paper.

    Returns:
        The box (top, left, bottom, right), in patches.

    Raises:
        ValueError: If a feature is not finite.
    """
    require_finite(features, 'patch features')
    alike = features @ features.T
    degrees = (alike >= 0).sum(dim=1)
    order = degrees.argsort(stable=True)
    seed = order[0]
    joined = order[:seeds]
    joined = joined[alike[seed, joined] >= 0]
    mask = (alike[:, joined].sum(dim=1) >= 0).view(grid)
    mask.view(-1)[seed] = True
    _, parts = cv2.connectedComponents(
        mask.cpu().numpy().astype(np.uint8), connectivity=4)
    rows, columns = np.nonzero(parts == parts.ravel()[int(seed)])
    return (int(rows.min()), int(columns.min()), int(rows.max()) + 1,
            int(columns.max()) + 1)


def box_iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Compute the intersection over union of a box (4,) with boxes (M, 4)."""
    box, boxes = np.asarray(box, float), np.asarray(boxes,
                                                    float).reshape(-1, 4)
    top_left = np.maximum(box[:2], boxes[:, :2])
    bottom_right = np.minimum(box[2:], boxes[:, 2:])
    overlap = np.clip(bottom_right - top_left, 0, None).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - overlap
    return overlap / np.maximum(union, 1e-12)
