"""Brightness, contrast, saturation and hue, jittered in random order.

The arithmetic is Pillow's (``ImageEnhance``) and torchvision's
(``adjust_hue`` on Pillow images), worked out with OpenCV and look-up tables
on BGR images. mmcv's hue adjustment overflows with numpy 2.
"""
import math
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.registry import TRANSFORMS
from .checks import check_prob
from .random_grayscale import to_gray

LEVELS = np.arange(256, dtype=np.float32)
GRAY_WEIGHTS = (0.114, 0.587, 0.299)  # of B, G, R: ITU-R 601-2


def adjust_brightness(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend with black: ``factor * img``."""
    return cv2.LUT(img, _to_levels(factor * LEVELS))


def adjust_contrast(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the mean gray level m: ``m + factor * (img - m)``."""
    mean = int(np.dot(cv2.mean(img)[:3], GRAY_WEIGHTS) + 0.5)
    return cv2.LUT(img, _to_levels(mean + factor * (LEVELS - mean)))


def adjust_saturation(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend with the gray image g: ``g + factor * (img - g)``."""
    # Pillow truncates where OpenCV rounds, hence the half level.
    return cv2.addWeighted(img, factor, to_gray(img), 1 - factor, -0.5)


def adjust_hue(img: np.ndarray, shift: float) -> np.ndarray:
    """Turn the hue by ``shift``, a fraction of the colour circle."""
    hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV_FULL)
    # Pillow's levels of hue are rounded down where OpenCV's are rounded: one
    # less brings the two to 0.3 levels of each other. It wraps around.
    hsv[..., 0] += np.uint8((int(shift * 255) - 1) % 256)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


def _to_levels(values: np.ndarray) -> np.ndarray:
    return np.clip(values, 0, 255).astype(np.uint8)


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
