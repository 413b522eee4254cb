"""Gaussian blur of random radius."""
import math
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.registry import TRANSFORMS
from .checks import check_prob, check_range


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
