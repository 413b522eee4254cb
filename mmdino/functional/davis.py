"""Region and contour measures of semi-supervised DAVIS 2017.

Perazzi et al. 2016 (CVPR, "A Benchmark Dataset and Evaluation Methodology for
Video Object Segmentation"), section 5, and Pont-Tuset et al. 2017 (arXiv
1704.00675), in the definitions of the benchmark's own scorer: region
similarity J, contour accuracy F, and their mean, recall and decay over the
frames of an object.

Letters: F frames, (H, W) pixels, O objects.
"""
import math
from typing import NamedTuple

import cv2
import numpy as np


class FrameStatistics(NamedTuple):
    """Summary of a measure over the frames of an object, as fractions."""
    mean: float
    recall: float  # share of the frames with a value above 0.5
    decay: float  # mean of the first quarter less that of the last


def score_sequence(prediction: np.ndarray,
                   truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute J and F of each object in each scored frame of a video.

    The first and the last frame are not scored: the labels of the first are
    given to the method, and the benchmark leaves out the last.

    Args:
        prediction: (F, H, W) integers, the object at each pixel.
        truth: (F, H, W) integers. The objects are 1 to the largest number in
            the first frame; everything else is background.

    Returns:
        J and F, each (O, F - 2), float64, as fractions.

    Raises:
        ValueError: If the shapes differ, there are fewer than 3 frames, or
            the first frame has no object.
    """
    if prediction.shape != truth.shape or truth.ndim != 3:
        raise ValueError('Prediction and truth must be (frames, H, W), got '
                         f'{prediction.shape} and {truth.shape}.')
    if len(truth) < 3:
        raise ValueError(f'The sequence has {len(truth)} frames: DAVIS leaves '
                         'out the first and the last, so it needs 3.')
    num_objects = int(truth[0].max())
    if not num_objects:
        raise ValueError('The first frame of the truth has no object: all '
                         'pixels are 0.')
    pairs = [(prediction[1:-1] == i, truth[1:-1] == i)
             for i in range(1, num_objects + 1)]
    return (np.stack([region_similarity(*pair) for pair in pairs]),
            np.stack([contour_accuracy(*pair) for pair in pairs]))


def region_similarity(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Compute J (F,), the Jaccard index of an object's bool masks (F, H, W).

    J is 1 in frames where both masks are empty.
    """
    both = (prediction & truth).sum(axis=(1, 2))
    either = (prediction | truth).sum(axis=(1, 2))
    return np.where(either == 0, 1., both / np.maximum(either, 1))


def contour_accuracy(prediction: np.ndarray,
                     truth: np.ndarray,
                     tolerance: float = 0.008) -> np.ndarray:
    """Compute F, the F-measure of an object's contour, in each frame.

    Precision is the share of the predicted contour that lies within the
    tolerance of the true contour; recall is the share of the true contour
    that lies within the tolerance of the predicted one. F is 1 if both
    contours are empty and 0 if only one is.

    Args:
        prediction: (F, H, W) bool.
        truth: (F, H, W) bool.
        tolerance: Distance as a fraction of the image diagonal, rounded up to
            whole pixels.

    Returns:
        (F,) float64 fractions.
    """
    radius = math.ceil(tolerance * math.hypot(*truth.shape[1:]))
    y, x = np.ogrid[-radius:radius + 1, -radius:radius + 1]
    disk = (x**2 + y**2 <= radius**2).astype(np.uint8)
    return np.array([
        _contour_f(contour(frame), contour(true_frame), disk)
        for frame, true_frame in zip(prediction, truth)
    ])


def contour(mask: np.ndarray) -> np.ndarray:
    """Find the contour of a mask.

    The contour consists of the pixels whose right, lower or lower right
    neighbour has another value. It is one pixel wide and therefore half a
    pixel off the true contour, towards the top left. The border of the image
    is no contour: in the last row only the right neighbour is compared, in
    the last column only the lower one.

    Args:
        mask: (H, W) bool.

    Returns:
        (H, W) bool.
    """
    padded = np.pad(mask, ((0, 1), (0, 1)), mode='edge')
    right, below, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    return (mask ^ right) | (mask ^ below) | (mask ^ diagonal)


def frame_statistics(values: np.ndarray) -> FrameStatistics:
    """Compute mean, recall and decay of a measure's values (F,), one a frame.

    The decay uses the benchmark's quarters: neighbouring quarters share a
    frame.
    """
    ends = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[:ends[1] + 1], values[ends[3]:]
    return FrameStatistics(values.mean(), (values > 0.5).mean(),
                           first.mean() - last.mean())


def _contour_f(predicted: np.ndarray, true: np.ndarray,
               disk: np.ndarray) -> float:
    precision = _matched(predicted, true, disk)
    recall = _matched(true, predicted, disk)
    total = precision + recall
    return 2 * precision * recall / total if total else 0.


def _matched(contour: np.ndarray, other: np.ndarray,
             disk: np.ndarray) -> float:
    """Compute the share of a contour that the other, dilated one covers.

    The share of an empty contour is 1.
    """
    if not contour.any():
        return 1.
    grown = cv2.dilate(other.astype(np.uint8), disk)
    return grown[contour].mean()
