"""Random augmentations of images (H, W, C).

What is about colours takes (H, W, 3) uint8 BGR, the rest any C, uint8, uint16
and float32. The arithmetic is Pillow's (``ImageOps``, ``ImageFilter``,
``ImageEnhance``) and torchvision's (``adjust_hue`` on Pillow images), worked
out with OpenCV.
"""
import math
from abc import abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmdino.datasets.transforms.resizing import check_image, check_rgb
from mmdino.registry import TRANSFORMS

GRAY_WEIGHTS = np.array([0.114, 0.587, 0.299])  # of B, G, R: ITU-R 601-2
# Pillow truncates to whole levels where OpenCV rounds.
TRUNCATE = -0.4999


class RandomAugment(BaseTransform):
    """Base class of transforms that change ``img`` with probability ``prob``.

    Raises:
        ValueError: If ``prob`` is not within [0, 1]; on a call, if the image
            is not of a kind that it takes, also where chance spares it.
    """

    def __init__(self, prob: float) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'prob must be within [0, 1], got {prob}')
        self.prob = prob

    def transform(self, results: dict) -> dict:
        """Change ``img`` with probability ``prob``."""
        if self.prob:
            self.check(results['img'])
        if np.random.rand() < self.prob:
            results['img'] = self.augment(results['img'])
        return results

    def check(self, img: np.ndarray) -> None:
        """Raise an error for an image that the transform cannot change."""
        check_image(self, img)

    @abstractmethod
    def augment(self, img: np.ndarray) -> np.ndarray:
        """Change an image (H, W, C)."""


@TRANSFORMS.register_module()
class HorizontalFlip(RandomAugment):
    """Mirror ``img`` left to right at random.

    mmcv's RandomFlip returns a view with negative strides, which the next
    operation has to copy: 0.2 ms a 224 px crop instead of 0.01.
    """

    def __init__(self, prob: float = 0.5) -> None:
        super().__init__(prob)

    def augment(self, img: np.ndarray) -> np.ndarray:
        return _as(img, cv2.flip(img, 1))


def _as(img: np.ndarray, result: np.ndarray) -> np.ndarray:
    """Restore the single channel that OpenCV drops."""
    return result.reshape(img.shape)


def to_gray(img: np.ndarray) -> np.ndarray:
    """Turn a BGR image (H, W, 3) grey, with Pillow's ITU-R 601-2 weights."""
    gray = cv2.cvtColor(img, cv2.COLOR_BGR2GRAY)
    return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


@TRANSFORMS.register_module()
class RandomGrayscale(RandomAugment):
    """Turn ``img`` grey at random; it keeps three channels.

    mmcv's transform of this name weighs the channels equally by default.
    """

    def __init__(self, prob: float = 0.2) -> None:
        super().__init__(prob)

    def augment(self, img: np.ndarray) -> np.ndarray:
        return to_gray(img)

    def check(self, img: np.ndarray) -> None:
        check_rgb(self, img)


def solarize(img: np.ndarray, threshold: int) -> np.ndarray:
    """Invert all levels from ``threshold`` of 255 on.

    Args:
        img: (H, W, C); uint8, or uint16, whose levels are 257 times as fine.
        threshold: From 0 to 255.
    """
    if img.dtype == np.uint16:
        return np.where(img < threshold * 257, img, ~img)
    levels = np.arange(256)
    table = np.where(levels < threshold, levels, 255 - levels)
    return _as(img, cv2.LUT(img, table.astype(np.uint8)))


@TRANSFORMS.register_module()
class Solarize(RandomAugment):
    """Invert the levels of ``img`` from ``threshold`` on, at random.

    The threshold is one of 8 bits, also for uint16. Floats have no greatest
    level and are refused.
    """

    def __init__(self, prob: float = 0.2, threshold: int = 128) -> None:
        super().__init__(prob)
        self.threshold = threshold

    def check(self, img: np.ndarray) -> None:
        super().check(img)
        if img.dtype == np.float32:
            raise ValueError(
                'Solarize takes uint8 and uint16, got float32, which has no '
                'greatest level: leave it out of the pipeline')

    def augment(self, img: np.ndarray) -> np.ndarray:
        return solarize(img, self.threshold)


def blur_kernel(radius: float) -> np.ndarray:
    """Return the kernel of Pillow's GaussianBlur: three extended box filters.

    An extended box has weight 1 on 2l + 1 pixels and a on the two beyond,
    l and a such that three of them have the variance radius ** 2.
    Convolved, they are one short kernel. From Gwosdek et al. 2011,
    "Theoretical Foundations of Gaussian Convolution by Extended Box
    Filtering", equations 7, 11 and 14.

    Args:
        radius: Standard deviation in pixels.

    Returns:
        Weights that sum to 1, of odd length.
    """
    variance = radius**2 / 3
    inner = math.floor((math.sqrt(12 * variance + 1) - 1) / 2)
    edge = (2 * inner + 1) * (inner * (inner + 1) - 3 * variance)
    edge /= 6 * (variance - (inner + 1)**2)
    box = np.array([edge, *[1.] * (2 * inner + 1), edge])
    kernel = np.convolve(np.convolve(box, box), box)
    return (kernel / kernel.sum()).astype(np.float32)


def gaussian_blur(img: np.ndarray, radius: float) -> np.ndarray:
    """Blur an image (H, W, C) with standard deviation ``radius`` in pixels.

    Floats are summed in float64: a constant stays what it is.
    """
    kernel = blur_kernel(radius)
    if img.dtype == np.float32:
        kernel = kernel.astype(np.float64)
        kernel /= kernel.sum()
        return _filter(img.astype(np.float64), kernel).astype(np.float32)
    return _filter(img, kernel)


def _filter(img: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve rows and columns, four channels at once, OpenCV's limit."""
    if img.shape[2] > 4:
        parts = np.split(img, range(4, img.shape[2], 4), axis=2)
        return np.concatenate(
            [_filter(np.ascontiguousarray(p), kernel) for p in parts], axis=2)
    return _as(
        img,
        cv2.sepFilter2D(
            img, -1, kernel, kernel, borderType=cv2.BORDER_REPLICATE))


@TRANSFORMS.register_module()
class GaussianBlur(RandomAugment):
    """Blur ``img`` with a random radius.

    Args:
        prob: Probability.
        radius: Bounds of the radius, the standard deviation in pixels, drawn
            uniformly.
    """

    def __init__(self, prob: float,
                 radius: Sequence[float] = (0.1, 2.0)) -> None:
        super().__init__(prob)
        self.radius = check_range('radius', radius)

    def augment(self, img: np.ndarray) -> np.ndarray:
        return gaussian_blur(img, np.random.uniform(*self.radius))


def adjust_brightness(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend an image with black: ``factor * img``."""
    return _as(img, cv2.addWeighted(img, factor, img, 0, _truncate(img)))


def adjust_contrast(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend an image with its mean grey level m: ``m + factor * (img - m)``.

    m is that of the luma, of other than three channels that of all.
    """
    if img.shape[2] == 3:
        mean = np.dot(cv2.mean(img)[:3], GRAY_WEIGHTS)
    else:
        mean = img.mean(dtype=np.float64)
    if img.dtype != np.float32:
        mean = int(mean + 0.5)
    return _as(
        img,
        cv2.addWeighted(img, factor, img, 0,
                        mean * (1 - factor) + _truncate(img)))


def _truncate(img: np.ndarray) -> float:
    return 0. if img.dtype == np.float32 else TRUNCATE


def adjust_saturation(img: np.ndarray, factor: float) -> np.ndarray:
    """Blend an image with its grey version g: ``g + factor * (img - g)``."""
    mix = np.empty((3, 4), np.float32)
    mix[:, :3] = (1 - factor) * GRAY_WEIGHTS + factor * np.eye(3)
    mix[:, 3] = TRUNCATE
    return cv2.transform(img, mix)


def adjust_hue(img: np.ndarray, shift: float) -> np.ndarray:
    """Rotate the hue by ``shift``, a fraction of the colour circle.

    mmcv's overflows with numpy 2.
    """
    hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV_FULL)
    # Pillow's levels of hue are rounded down where OpenCV's are rounded: one
    # less brings the two to 0.3 levels of each other. It wraps around.
    turn = np.zeros(hsv.shape[1:], np.uint8)  # a row: faster than hsv[..., 0]
    turn[:, 0] = (int(shift * 255) - 1) % 256
    hsv += turn
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


@TRANSFORMS.register_module()
class ColorJitter(RandomAugment):
    """Change brightness, contrast, saturation and hue in random order.

    Each of the four is drawn anew at every call: a factor uniform in
    [max(0, 1 - x), 1 + x], for hue a shift uniform in [-x, x].

    Without saturation and hue it takes any number of channels, uint8, uint16
    and float32; all channels get the same factors.

    Args:
        brightness: x of the brightness.
        contrast: x of the contrast.
        saturation: x of the saturation.
        hue: x of the hue, a fraction of the colour circle.
        prob: Probability that anything happens.

    Raises:
        ValueError: If one of the four is negative, or hue above 0.5.
    """

    def __init__(self,
                 brightness: float = 0.4,
                 contrast: float = 0.4,
                 saturation: float = 0.2,
                 hue: float = 0.1,
                 prob: float = 0.8) -> None:
        super().__init__(prob)
        strengths = (brightness, contrast, saturation, hue)
        if not (all(0 <= s < math.inf for s in strengths) and hue <= 0.5):
            raise ValueError(
                'brightness, contrast, saturation and hue must be at least '
                f'0, and hue at most 0.5, got {strengths}')
        self.bounds = [(max(0., 1 - x), 1 + x) for x in strengths[:3]]
        self.bounds.append((-hue, hue))
        self.needs_colour = bool(saturation or hue)

    def check(self, img: np.ndarray) -> None:
        if self.needs_colour:
            check_rgb(self, img, ', or set its saturation and hue to 0')
        else:
            check_image(self, img)

    def augment(self, img: np.ndarray) -> np.ndarray:
        steps = (adjust_brightness, adjust_contrast, adjust_saturation,
                 adjust_hue)
        colour = img.shape[2] == 3 and img.dtype == np.uint8
        for i in np.random.permutation(len(steps)):
            amount = np.random.uniform(*self.bounds[i])
            if colour or i < 2:
                img = steps[i](img, amount)
        return img


def check_range(name: str, values: Sequence[float]) -> tuple[float, float]:
    """Check a range and return it as (low, high).

    Raises:
        ValueError: If these are not two numbers with 0 < low <= high; says
            that they are of ``name``.
    """
    low, high = values if len(values) == 2 else (0, 0)
    if not 0 < low <= high < math.inf:
        raise ValueError(f'{name} must be two numbers (low, high) with '
                         f'0.0 < low <= high, got {tuple(values)}')
    return low, high
