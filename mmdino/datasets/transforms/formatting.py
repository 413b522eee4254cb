"""Cropping and resizing for evaluation, and conversion to tensors."""
import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform, CenterCrop, Compose
from mmpretrain.datasets import PackInputs
from PIL import Image

from mmdino.datasets.transforms.resizing import (by_channel, check_image,
                                                 pillow_resize)
from mmdino.registry import TRANSFORMS


@TRANSFORMS.register_module()
class CropToBox(BaseTransform):
    """Crop ``img`` to ``bbox``, (x1, y1, x2, y2) in pixels.

    Like Pillow's ``Image.crop``, with which the code of revisited Oxford and
    Paris crops its queries: corners are rounded to whole pixels, and pixels
    outside of the image are black.

    Raises:
        ValueError: If the box is empty.
    """

    def transform(self, results: dict) -> dict:
        box = [round(float(corner)) for corner in results['bbox']]
        if box[0] >= box[2] or box[1] >= box[3]:
            raise ValueError(f'{results.get("img_path", "The image")} has an '
                             f'empty box (x1, y1, x2, y2) {box}: correct its '
                             'annotation')
        check_image(self, results['img'])
        return _with_image(results, _crop(results['img'], *box))


def _crop(img: np.ndarray, left: int, top: int, right: int,
          bottom: int) -> np.ndarray:
    """Return a copy of the box, black where it lies outside of the image."""
    height, width, channels = img.shape
    cropped = np.zeros((bottom - top, right - left, channels), img.dtype)
    inside = img[max(top, 0):max(bottom, 0), max(left, 0):max(right, 0)]
    above, before = max(-top, 0), max(-left, 0)
    cropped[above:above + inside.shape[0],
            before:before + inside.shape[1]] = inside
    return cropped


@TRANSFORMS.register_module()
class ResizeShortSide(BaseTransform):
    """Resize the short side of ``img`` by Pillow's antialiased bicubic filter.

    Like mmpretrain's ResizeEdge with the backend 'pillow', but for images
    (H, W, C) of any C, uint8, uint16 or float32. The aspect ratio is kept.

    Args:
        size: Short side in pixels; the long side is rounded down.

    Raises:
        ValueError: If ``size`` is below 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f'size must be at least 1 pixel, got {size}')
        self.size = size

    def transform(self, results: dict) -> dict:
        img = results['img']
        check_image(self, img)
        height, width = img.shape[:2]
        short = min(height, width)
        size = (int(self.size * width / short),
                int(self.size * height / short))
        return _with_image(results, pillow_resize(img, size))


@TRANSFORMS.register_module()
class CenterView(BaseTransform):
    """Resize and centre-crop ``img``, as networks are usually evaluated.

    The short side is resized to 8/7 of ``size`` by Pillow's antialiased
    bicubic filter, such as 256 for 224 px. Then the square in the middle is
    cut out.

    Args:
        size: Side of the square in pixels. If a config leaves it out, the
            tools use the image size that the checkpoint stores.

    Raises:
        ValueError: If ``size`` is missing or below 1.
    """

    def __init__(self, size: int | None = None) -> None:
        if size is None or size < 1:
            raise ValueError(
                f'CenterView has size={size}: give a number of pixels, or a '
                'checkpoint that stores the image size of its training.')
        self.steps = Compose(
            [ResizeShortSide(round(size * 8 / 7)),
             CenterCrop(size)])

    def transform(self, results: dict) -> dict:
        return self.steps(results)


def fit_patches(height: int, width: int, size: int | None,
                patch: int) -> tuple[int, int]:
    """Return the (height, width) of whole patches nearest to an image's size.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        size: Length in pixels to which the short side is scaled first; None
            keeps its length.
        patch: Side of a patch in pixels.
    """
    scale = 1 if size is None else size / min(height, width)
    height, width = (
        max(1, round(side * scale / patch)) * patch
        for side in (height, width))
    return height, width


@TRANSFORMS.register_module()
class WholeView(BaseTransform):
    """Resize all of ``img`` to a whole number of patches.

    It uses Pillow's antialiased bicubic filter. The aspect ratio changes
    slightly, because each side is rounded to the nearest whole patch.

    Args:
        size: Short side in pixels, before both sides are rounded; by default
            that of the image.
        patch: Side of a patch in pixels. In a config with ``patch=None`` the
            tools use the patch size of the checkpoint's network.

    Raises:
        ValueError: If ``patch`` is missing, or a number is below 1.
    """

    def __init__(self,
                 size: int | None = None,
                 patch: int | None = None) -> None:
        if patch is None:
            raise ValueError('WholeView has patch=None: give a number of '
                             'pixels, or a checkpoint of a network with '
                             'patches.')
        if patch < 1 or size is not None and size < 1:
            raise ValueError('size and patch must be at least 1 pixel, got '
                             f'{size} and {patch}')
        self.size = size
        self.patch = patch

    def transform(self, results: dict) -> dict:
        img = results['img']
        check_image(self, img)
        height, width = fit_patches(*img.shape[:2], self.size, self.patch)
        return _with_image(results, pillow_resize(img, (width, height)))


@TRANSFORMS.register_module()
class Thumbnail(BaseTransform):
    """Shrink ``img`` so that its long side is at most ``size``.

    Pillow's ``Image.thumbnail`` with the Lanczos filter, as the authors of
    DINO prepare images for retrieval: the aspect ratio is kept, and small
    images are not enlarged.

    Args:
        size: Largest length of the long side in pixels.

    Raises:
        ValueError: If ``size`` is below 1.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f'size must be at least 1 px, got {size}')
        self.size = size

    def transform(self, results: dict) -> dict:
        img = results['img']
        check_image(self, img)
        return _with_image(results, by_channel(img, self._shrink))

    def _shrink(self, image: Image.Image) -> Image.Image:
        image = image.copy()
        image.thumbnail((self.size, self.size), Image.Resampling.LANCZOS)
        return image


def _with_image(results: dict, img: np.ndarray) -> dict:
    return dict(results, img=img, img_shape=img.shape[:2])


def to_planes(img: np.ndarray) -> torch.Tensor:
    """Turn an image (H, W, C) into a tensor (C, H, W).

    OpenCV separates the channels ten times faster than torch's
    ``permute(2, 0, 1).contiguous()``.
    """
    height, width, channels = img.shape
    planes = np.empty((channels, height, width), img.dtype)
    wanted = list(planes)
    for plane, split in zip(wanted, cv2.split(img, wanted)):
        if split is not plane:  # OpenCV has not written into the given array
            plane[...] = split
    return torch.from_numpy(planes)


@TRANSFORMS.register_module()
class PackViews(PackInputs):
    """mmpretrain's ``PackInputs`` for the list of views of MultiCrop."""

    @staticmethod
    def format_input(input_: list[np.ndarray]) -> list[torch.Tensor]:
        return [to_planes(view) for view in input_]
