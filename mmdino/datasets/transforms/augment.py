"""Random augmentations of images (H, W, C).

Functions and transforms of colours take (H, W, 3) uint8 BGR; the others take
any C and uint8, uint16 or float32. Results are those of Pillow (``ImageOps``,
``ImageFilter``, ``ImageEnhance``) and, for the hue, of torchvision's
``adjust_hue`` on Pillow images; they are computed with OpenCV.
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
# Offset that makes OpenCV, which rounds, truncate to whole levels like Pillow.
TRUNCATE = -0.4999


class RandomAugment(BaseTransform):
    """Base class of transforms that change ``img`` with probability ``prob``.

    Args:
        prob: Probability of the change.

    Raises:
        ValueError: If ``prob`` is not within [0, 1]. On a call with ``prob``
            above 0, if the transform cannot handle the image, whether or not
            the image would be changed.
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
        """Raise an error for an image that the transform cannot handle."""
        check_image(self, img)

    @abstractmethod
    def augment(self, img: np.ndarray) -> np.ndarray:
        """Change an image (H, W, C)."""


@TRANSFORMS.register_module()
class HorizontalFlip(RandomAugment):
    """Mirror ``img`` left to right at random.

    It takes 0.01 ms for a crop of 224 px. mmcv's RandomFlip returns a view
    with negative strides, which takes 0.2 ms to copy in the next operation.

    Args:
        prob: Probability of the change.
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

    Unlike mmcv's transform of this name, which by default weighs the channels
    equally, it uses the weights of ITU-R 601-2.

    Args:
        prob: Probability of the change.
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
        img: (H, W, C); uint8 or uint16.
        threshold: A level of 8 bits; times 257 for uint16.
    """
    if img.dtype == np.uint16:
        return np.where(img < threshold * 257, img, ~img)
    levels = np.arange(256)
    table = np.where(levels < threshold, levels, 255 - levels)
    return _as(img, cv2.LUT(img, table.astype(np.uint8)))


@TRANSFORMS.register_module()
class Solarize(RandomAugment):
    """Invert the levels of ``img`` from ``threshold`` on, at random.

    Args:
        prob: Probability of the change.
        threshold: A level of 8 bits; times 257 for uint16.

    Raises:
        ValueError: On a call with a float32 image, which has no greatest
            level.
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

    An extended box has weight 1 on 2l + 1 pixels and weight a on one more
    pixel at either end. l and a are such that the three filters together have
    the variance ``radius**2``. Their convolution is a single short kernel.
    From Gwosdek et al. 2011, "Theoretical Foundations of Gaussian Convolution
    by Extended Box Filtering", equations 7, 11 and 14.

    Args:
        radius: Standard deviation in pixels.

    Returns:
        Weights that sum to 1; their number is odd.
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

    float32 images are summed in float64, so that a constant image does not
    change.
    """
    kernel = blur_kernel(radius)
    if img.dtype == np.float32:
        kernel = kernel.astype(np.float64)
        kernel /= kernel.sum()
        return _filter(img.astype(np.float64), kernel).astype(np.float32)
    return _filter(img, kernel)


def _filter(img: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Convolve rows and columns, four channels (OpenCV's limit) at a time."""
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
        prob: Probability of the change.
        radius: Bounds of the standard deviation in pixels, which is drawn
            uniformly at each call.
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

    m is the mean luminance of a BGR image; with another number of channels,
    the mean of all values.
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

    mmcv's ``adjust_hue`` overflows with numpy 2.
    """
    hsv = cv2.cvtColor(img, cv2.COLOR_BGR2HSV_FULL)
    # Pillow truncates the level of the hue, and OpenCV rounds it. With one
    # level less the two agree to 0.3 levels. The uint8 hue wraps around.
    turn = np.zeros(hsv.shape[1:], np.uint8)  # a row: faster than hsv[..., 0]
    turn[:, 0] = (int(shift * 255) - 1) % 256
    hsv += turn
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR_FULL)


@TRANSFORMS.register_module()
class ColorJitter(RandomAugment):
    """Change brightness, contrast, saturation and hue in random order.

    At every call each of the four is drawn anew from a uniform distribution:
    for a strength x a factor in [max(0, 1 - x), 1 + x], for the hue a shift in
    [-x, x].

    With saturation and hue 0 it also takes images of any number of channels,
    uint8, uint16 or float32. All channels get the same factors.

    Args:
        brightness: Strength x of the brightness.
        contrast: Strength x of the contrast.
        saturation: Strength x of the saturation.
        hue: Strength x of the hue, a fraction of the colour circle.
        prob: Probability of the change.

    Raises:
        ValueError: If a strength is negative, or ``hue`` is above 0.5.
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

    Args:
        name: Name of the argument, for the error message.
        values: The argument.

    Raises:
        ValueError: If it is not two finite numbers with 0 < low <= high.
    """
    low, high = values if len(values) == 2 else (0, 0)
    if not 0 < low <= high < math.inf:
        raise ValueError(f'{name} must be two numbers (low, high) with '
                         f'0.0 < low <= high, got {tuple(values)}')
    return low, high
