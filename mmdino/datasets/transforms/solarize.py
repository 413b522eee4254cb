"""Bright pixels inverted, at random."""
import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.registry import TRANSFORMS
from .checks import check_prob


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
