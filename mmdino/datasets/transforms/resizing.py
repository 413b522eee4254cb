"""Pillow's operations on images of any number of channels and bits."""
from collections.abc import Callable

import numpy as np
from PIL import Image

DTYPES = ('uint8', 'uint16', 'float32')


def check_image(transform: object, img: np.ndarray) -> None:
    """Raise an error if an array is not an image that transforms can handle.

    Args:
        transform: The transform, for the error message.
        img: The array.

    Raises:
        ValueError: If the array is not (H, W, C) of one of ``DTYPES``.
    """
    if img.ndim != 3 or img.dtype.name not in DTYPES:
        raise ValueError(
            f'{type(transform).__name__} takes images (H, W, C) of '
            f'{", ".join(DTYPES)}, got {img.shape} {img.dtype}: load them '
            'with LoadImage')


def check_rgb(transform: object, img: np.ndarray, instead: str = '') -> None:
    """Raise an error if an array is not an image (H, W, 3) of uint8.

    Args:
        transform: The transform, for the error message.
        img: The array.
        instead: End of the message: a remedy other than leaving the transform
            out.

    Raises:
        ValueError: If the array is not (H, W, 3) of uint8.
    """
    if img.ndim != 3 or img.shape[2] != 3 or img.dtype != np.uint8:
        raise ValueError(
            f'{type(transform).__name__} takes colour images (H, W, 3) of '
            f'uint8, got {img.shape} {img.dtype}: leave it out of the '
            f'pipeline{instead}')


def by_channel(img: np.ndarray, operate: Callable[[Image.Image],
                                                  Image.Image]) -> np.ndarray:
    """Apply an operation of Pillow to each channel of an image (H, W, C).

    An image (H, W, 3) of uint8 is processed at once. Otherwise each channel is
    an image of its own, because Pillow would treat four channels as colours
    and transparency: uint8 as 8-bit images, other types as float images.
    Results for uint16 are rounded and clipped.
    """
    if img.dtype == np.uint8 and img.shape[2] == 3:
        return np.array(operate(Image.fromarray(img)))
    deep = np.uint8 if img.dtype == np.uint8 else np.float32
    planes = [
        np.asarray(
            operate(Image.fromarray(np.ascontiguousarray(plane, deep))))
        for plane in np.moveaxis(img, 2, 0)
    ]
    result = np.stack(planes, axis=2)
    if img.dtype == np.uint16:
        result = np.rint(result).clip(0, np.iinfo(np.uint16).max)
    return result.astype(img.dtype, copy=False)


def pillow_resize(
        img: np.ndarray,
        size: tuple[int, int],
        method: Image.Resampling = Image.Resampling.BICUBIC) -> np.ndarray:
    """Resize (H, W, C) to ``size``, (width, height) in pixels, antialiased."""
    return by_channel(img, lambda image: image.resize(size, method))
