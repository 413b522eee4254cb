"""Colours taken away, at random."""
import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.registry import TRANSFORMS
from .checks import check_prob


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
