"""A random crop that is resized with an antialiased bicubic filter."""
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform

from mmdino.datasets.transforms.augment import check_range
from mmdino.datasets.transforms.resizing import check_image, pillow_resize
from mmdino.registry import TRANSFORMS

RATIO = (3 / 4, 4 / 3)


def draw_box(height: int, width: int, scale: Sequence[float],
             ratio: Sequence[float]) -> tuple[int, int, int, int]:
    """Draw a box of random area and aspect ratio.

    The area is uniform in ``scale``, width / height log-uniform in ``ratio``,
    and the position uniform. If none of ten draws fits into the image, the box
    is the largest centred one with a ratio within the bounds. This is the rule
    of torchvision's RandomResizedCrop.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        scale: Bounds of the area, as fractions of the area of the image.
        ratio: Bounds of width / height.

    Returns:
        Top, left, height and width of the box in pixels.
    """
    for _ in range(10):
        area = height * width * np.random.uniform(*scale)
        shape = math.exp(np.random.uniform(*map(math.log, ratio)))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            top = np.random.randint(height - h + 1)
            left = np.random.randint(width - w + 1)
            return top, left, h, w
    w = min(width, round(height * ratio[1]))
    h = min(height, round(width / ratio[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def resize(img: np.ndarray, size: int) -> np.ndarray:
    """Resize (H, W, C) to (size, size, C), antialiased bicubic.

    Images (H, W, 3) of uint8 are resized by PyTorch's kernel, which takes a
    sixth of Pillow's time and differs from it by 0.01 levels. All others are
    resized by Pillow. OpenCV has no antialiased bicubic filter.
    """
    if img.dtype != np.uint8 or img.shape[2] != 3:
        return pillow_resize(img, (size, size))
    resized = np.empty((1, size, size, 3), np.uint8)
    images, out = (
        torch.from_numpy(array).permute(0, 3, 1, 2)
        for array in (np.ascontiguousarray(img)[None], resized))
    try:
        kernel = torch.ops.aten._upsample_bicubic2d_aa.out
    except AttributeError:  # private: not every version of PyTorch has it
        out.copy_(
            F.interpolate(
                images, (size, size), mode='bicubic', antialias=True))
    else:
        # F.interpolate would return planes of channels, and turning them into
        # (H, W, C) would take half as much time again.
        kernel(images, (size, size), False, out=out)
    return resized[0]


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Cut a random box out of ``img`` and resize it to a square.

    It resizes with an antialiased bicubic filter, as the code of DINO's
    authors does by Pillow. Images are (H, W, C) of any C, uint8, uint16 or
    float32.

    Args:
        size: Side of the square in pixels.
        scale: Bounds of the area of the box, as fractions of the area of the
            image.
        ratio: Bounds of width / height of the box.

    Raises:
        ValueError: If ``size`` is not positive, ``scale`` or ``ratio`` is not
            positive and ascending, or ``scale`` is above 1.
    """

    def __init__(self,
                 size: int,
                 scale: Sequence[float],
                 ratio: Sequence[float] = RATIO) -> None:
        if size < 1:
            raise ValueError(f'size must be at least 1 pixel, got {size}')
        self.size = size
        self.scale = check_range('scale', scale)
        self.ratio = check_range('ratio', ratio)
        if self.scale[1] > 1:
            raise ValueError('scale is a fraction of the image, at most 1, '
                             f'got {tuple(scale)}')

    def transform(self, results: dict) -> dict:
        img = results['img']
        check_image(self, img)
        top, left, h, w = draw_box(*img.shape[:2], self.scale, self.ratio)
        results['img'] = resize(img[top:top + h, left:left + w], self.size)
        return results
