"""Brightness, contrast, saturation and hue, jittered in random order.

The arithmetic is Pillow's (``ImageEnhance``) and torchvision's
(``adjust_hue`` on Pillow images), worked out with OpenCV on BGR images.
mmcv's hue adjustment overflows with numpy 2.
"""
import math
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.datasets.transforms.augment import check_prob
from mmdino.registry import TRANSFORMS

GRAY_WEIGHTS = np.array([0.114, 0.587, 0.299])  # of B, G, R: ITU-R 601-2
# Pillow truncates to whole levels where OpenCV rounds.
TRUNCATE = -0.4999


def adjust_brightness(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend with black: ``factor * img``."""
    return cv2.addWeighted(img, factor, img, 0, TRUNCATE)


def adjust_contrast(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean gray level m: ``m + factor * (img - m)``."""
    mean = int(np.dot(cv2.mean(img)[:3], GRAY_WEIGHTS) + 0.5)
    return cv2.addWeighted(img, factor, img, 0, mean * (1 - factor) + TRUNCATE)


def adjust_saturation(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the gray image g: ``g + factor * (img - g)``."""
    mix = np.empty((3, 4), np.float32)
    mix[:, :3] = (1 - factor) * GRAY_WEIGHTS + factor * np.eye(3)
    mix[:, 3] = TRUNCATE
    return cv2.transform(img, mix)


def adjust_hue(img: np.ndarray, shift: float) -> np.ndarray:
    """Turn the hue by ``shift``, a fraction of the colour circle."""
    hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV_FULL)
    # Pillow's levels of hue are rounded down where OpenCV's are rounded: one
    # less brings the two to 0.3 levels of each other. It wraps around.
    turn = np.zeros(hsv.shape[1:], np.uint8)  # a row: faster than hsv[..., 0]
    turn[:, 0] = (int(shift * 255) - 1) % 256
    hsv += turn
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """Jitter the colours of ``img`` (H, W, 3; uint8, BGR), at random.

    Each of the four is drawn anew at every call: a factor uniform in
    [max(0, 1 - x), 1 + x], for hue a shift uniform in [-x, x]; then the four
    are applied in random order.

    Args:
        brightness (float): x of the brightness.
        contrast (float): x of the contrast.
        saturation (float): x of the saturation.
        hue (float): x of the hue, a fraction of the colour circle.
        prob (float): Probability that anything happens.

    Raises:
        ValueError: If one of the four is negative, or hue above 0.5.
    """

    def __init__(self,
                 brightness: float = 0.4,
                 contrast: float = 0.4,
                 saturation: float = 0.2,
                 hue: float = 0.1,
                 prob: float = 0.8) -> None:
        strengths = (brightness, contrast, saturation, hue)
        if not (all(0 <= s < math.inf for s in strengths) and hue <= 0.5):
            raise ValueError(
                'brightness, contrast, saturation and hue must be at least '
                '0, and hue at most 0.5, got '
                f'{strengths}')
        self.brightness = _factors(brightness)
        self.contrast = _factors(contrast)
        self.saturation = _factors(saturation)
        self.hue = (-hue, hue)
        self.prob = check_prob(prob)

    def transform(self, results: dict) -> dict:
        if np.random.rand() < self.prob:
            steps = [(adjust_brightness, self.brightness),
                     (adjust_contrast, self.contrast),
                     (adjust_saturation, self.saturation),
                     (adjust_hue, self.hue)]
            for i in np.random.permutation(len(steps)):
                adjust, bounds = steps[i]
                results['img'] = adjust(results['img'],
                                        np.random.uniform(*bounds))
        return results


def _factors(strength: float) -> Sequence[float]:
    return max(0., 1 - strength), 1 + strength
