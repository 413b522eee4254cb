"""Augmentations of (H, W, 3) uint8 BGR images: flip, gray, solarize, blur."""
import math
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.registry import TRANSFORMS


@TRANSFORMS.register_module()
class HorizontalFlip(BaseTransform):
    """Mirror ``img`` left to right, at random.

    mmcv's RandomFlip returns a view with negative strides, which the next
    operation has to copy: 0.2 ms a 224 px crop instead of 0.01.

    Args:
        prob (float): Probability.
    """

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = check_prob(prob)

    def transform(self, results: dict) -> dict:
        if np.random.rand() < self.prob:
            results['img'] = cv2.flip(results['img'], 1)
        return results


def to_gray(img: np.ndarray) -> np.ndarray:
    """Gray image (H, W, 3) of a BGR one, ITU-R 601-2 luma as Pillow's."""
    gray = cv2.cvtColor(img, cv2.COLOR_BGR2GRAY)
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


@TRANSFORMS.register_module()
class RandomGrayscale(BaseTransform):
    """Turn ``img`` (H, W, 3; uint8, BGR) gray with probability ``prob``.

    mmcv's transform of this name weighs the channels equally by default.

    Args:
        prob (float): Probability.
    """

    def __init__(self, prob: float = 0.2) -> None:
        self.prob = check_prob(prob)

    def transform(self, results: dict) -> dict:
        if np.random.rand() < self.prob:
            results['img'] = to_gray(results['img'])
        return results


def solarize(img: np.ndarray, threshold: int) -> np.ndarray:
    """Invert every level of ``threshold`` and above (uint8)."""
    levels = np.arange(256)
    table = np.where(levels < threshold, levels, 255 - levels)
    return cv2.LUT(img, table.astype(np.uint8))


@TRANSFORMS.register_module()
class Solarize(BaseTransform):
    """Solarize ``img`` with probability ``prob``.

    Args:
        prob (float): Probability.
        threshold (int): The lowest level that is inverted.
    """

    def __init__(self, prob: float = 0.2, threshold: int = 128) -> None:
        self.prob = check_prob(prob)
        self.threshold = threshold

    def transform(self, results: dict) -> dict:
        if np.random.rand() < self.prob:
            results['img'] = solarize(results['img'], self.threshold)
        return results


def blur_kernel(radius: float, passes: int = 3) -> np.ndarray:
    """The kernel of Pillow's GaussianBlur: three extended box filters.

    An extended box has weight 1 on 2l + 1 pixels and a on the two beyond,
    l and a such that ``passes`` of them have the variance radius ** 2.
    Convolved, they are one short kernel. From Gwosdek et al. 2011,
    "Theoretical Foundations of Gaussian Convolution by Extended Box
    Filtering", equations 7, 11 and 14.

    Args:
        radius (float): Standard deviation in pixels.
        passes (int): How many boxes.

    Returns:
        np.ndarray: Weights that sum to 1, of odd length.
    """
    variance = radius**2 / passes
    inner = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    edge = (2 * inner + 1) * (inner *
                              (inner + 1) - 3 * variance) / (6 *
                                                             (variance -
                                                              (inner + 1)**2))
    box = np.array([edge, *[1.] * (2 * inner + 1), edge])
    kernel = box
    for _ in range(passes - 1):
        kernel = np.convolve(kernel, box)
    return (kernel / kernel.sum()).astype(np.float32)


def gaussian_blur(img: np.ndarray, radius: float) -> np.ndarray:
    """Blur (H, W, 3) uint8 with standard deviation ``radius`` in pixels."""
    kernel = blur_kernel(radius)
    return cv2.sepFilter2D(
        img, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE)


@TRANSFORMS.register_module()
class GaussianBlur(BaseTransform):
    """Blur ``img`` with a radius drawn at every call.

    Args:
        prob (float): Probability.
        radius (Sequence[float]): Bounds of the radius, the standard
            deviation in pixels, drawn uniformly.
    """

    def __init__(self, prob: float,
                 radius: Sequence[float] = (0.1, 2.0)) -> None:
        self.prob = check_prob(prob)
        self.radius = check_range('radius', radius)

    def transform(self, results: dict) -> dict:
        if np.random.rand() < self.prob:
            results['img'] = gaussian_blur(results['img'],
                                           np.random.uniform(*self.radius))
        return results


def check_prob(prob: float) -> float:
    """Return ``prob``, a probability.

    Raises:
        ValueError: If it is not within [0, 1].
    """
    if not 0 <= prob <= 1:
        raise ValueError(f'prob must be within [0, 1], got {prob}')
    return prob


def check_range(name: str,
                values: Sequence[float],
                above: float = 0.) -> tuple[float, float]:
    """Return ``values`` as (low, high).

    Args:
        name (str): What the range is of, for the message.
        values (Sequence[float]): Two numbers.
        above (float): What the lower one must be above.

    Raises:
        ValueError: If these are not two numbers with above < low <= high.
    """
    low, high = values if len(values) == 2 else (above, above)
    if not above < low <= high < math.inf:
        raise ValueError(f'{name} must be two numbers (low, high) with '
                         f'{above} < low <= high, got {tuple(values)}')
    return low, high
