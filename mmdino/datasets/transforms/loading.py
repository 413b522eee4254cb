"""Loading of images, masks and videos; errors name the file."""
import logging
from collections.abc import Sequence
from pathlib import Path

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.logging import print_log
from PIL import Image

from mmdino.datasets.decoding import (COLOR_TYPES, check_size, decode,
                                      from_array, from_pillow, to_levels,
                                      used_share)
from mmdino.datasets.listing import ZIP_PREFIX
from mmdino.registry import TRANSFORMS
from mmdino.utils.names import printable

# Fraction of the full range below which images count as dark. It is that of
# 14-bit values in 16-bit files.
SMALL_PART = 1 / 4
# Suffix of mmcv's color_type that ignores the EXIF tag.
UNTURNED = '_ignore_orientation'


class UnreadableImageError(RuntimeError):
    """An error about an image that is missing, damaged or of no known format.
    """


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Load an image of any format; all failures raise one kind of error.

    With this error, unlike with those of mmcv's LoadImageFromFile, a data set
    can tell a bad file, which it replaces, from a mistake in the pipeline,
    which must stop the run. Grey, palette, alpha, CMYK, 16-bit and float
    images become (H, W, 3) uint8 BGR. Of animations the first image is taken.

    The image is ``results['image']`` (a Pillow image or an array in RGB), else
    ``results['img_bytes']`` (the content of a file), else the file
    ``results['img_path']``. All three give the same pixels, see
    :mod:`mmdino.datasets.decoding`.

    Args:
        color_type: 'color', (H, W, 3); 'grayscale', (H, W, 1); or 'unchanged',
            which keeps the channels and the type (uint8, uint16 or float32)
            and takes the pages of a TIFF as channels.
        exif_orientation: Whether to rotate photos as their EXIF tag says. The
            loader of DINO's authors does not: recipes and benchmarks on
            ImageNet set it to False.
        value_range: The values of uint16 and float32 images that become 0 and
            255: 'full' (0 and 65535 for uint16, 0 and 255 for float32); 'file'
            (the least and the greatest value of each file, which makes files
            incomparable); or (low, high). The default is 'full' or, for
            ``color_type='unchanged'``, no scaling. With 'full' a warning
            counts the images whose values stay below a quarter of the range.
        to_float32: Whether to convert the result to float32.
        max_pixels: Refuse images of more pixels before they fill the memory;
            by default twice ``PIL.Image.MAX_IMAGE_PIXELS``, 179 million.
        max_bytes: Refuse files in zip archives that unpack to more bytes; by
            default 1 GiB.
        backend_args: Arguments of MMEngine's file backend.

    Raises:
        UnreadableImageError: If the image cannot be read; names the file and
            the cause.
        ValueError: If an argument is out of its range.
    """

    def __init__(self,
                 color_type: str = 'color',
                 exif_orientation: bool = True,
                 value_range: str | Sequence[float] | None = None,
                 to_float32: bool = False,
                 max_pixels: int | None = None,
                 max_bytes: int | None = None,
                 backend_args: dict | None = None) -> None:
        self.color_type = color_type.removesuffix(UNTURNED)
        self.exif_orientation = (
            exif_orientation and not color_type.endswith(UNTURNED))
        if self.color_type not in COLOR_TYPES:
            raise ValueError(f'color_type must be one of {COLOR_TYPES}, got '
                             f'{color_type!r}')
        if value_range is None and self.color_type != 'unchanged':
            value_range = 'full'
        self.value_range = _check_value_range(value_range)
        self.to_float32 = to_float32
        for limit in (max_pixels, max_bytes):
            if limit is not None and limit < 1:
                raise ValueError('max_pixels and max_bytes must be positive, '
                                 f'got {max_pixels} and {max_bytes}')
        self.max_pixels = max_pixels
        self.max_bytes = max_bytes
        self.backend_args = backend_args
        # Numbers of images of more than 8 bits and of dark ones among them, in
        # memory that the workers share.
        self.deep, self.dark = torch.zeros(
            2, dtype=torch.int64).share_memory_().unbind()

    def transform(self, results: dict) -> dict:
        name = printable(results.get('img_path', 'the image'))
        try:
            img = self._read(results)
            if self.value_range == 'full' and img.dtype != np.uint8:
                self._count_dark(name, img)
            if self.value_range is not None:
                img = to_levels(img, self.value_range)
        # Decoders and zipfile raise errors of any type for damaged files.
        except Exception as error:
            raise UnreadableImageError(
                f'{name}: {type(error).__name__}: '
                f'{printable(error).strip()}') from error
        results.pop('img_bytes', None)
        results.pop('image', None)
        results.update(
            img=img.astype(np.float32) if self.to_float32 else img,
            img_shape=img.shape[:2],
            ori_shape=img.shape[:2])
        return results

    def _read(self, results: dict) -> np.ndarray:
        image = results.get('image')
        if isinstance(image, Image.Image):
            check_size(image.width * image.height, self.max_pixels)
            return from_pillow(image, self.color_type, self.exif_orientation)
        if image is not None:
            check_size(int(np.prod(image.shape[:2])), self.max_pixels)
            return from_array(image, self.color_type)
        data = results.get('img_bytes')
        if data is None:
            data = self._get(results['img_path'])
        return decode(data, self.color_type, self.exif_orientation,
                      self.max_pixels)

    def _get(self, path: str) -> bytes:
        backend_args = self.backend_args
        if self.max_bytes is not None and str(path).startswith(ZIP_PREFIX):
            backend_args = dict(backend='zip', max_bytes=self.max_bytes)
        return fileio.get(path, backend_args=backend_args)

    def _count_dark(self, name: str, img: np.ndarray) -> None:
        self.deep += 1
        if used_share(img) >= SMALL_PART:
            return
        self.dark += 1
        dark = int(self.dark)
        if set(str(dark)[1:]) <= {'0'}:  # 1, 2, ... 9, 10, 20, ... 100, ...
            print_log(
                f'{dark} of {int(self.deep)} images of more than 8 bits use '
                'less than a quarter of their range and become dark; the '
                f'largest value of {name} is {img.max():g}. If their true '
                'range is smaller, set it: LoadImage '
                f'value_range=(0, {_next_power(img)}).',
                logger='current',
                level=logging.WARNING)


def _check_value_range(
        value_range: str | Sequence[float] | None) -> str | tuple | None:
    if value_range is None or value_range in ('full', 'file'):
        return value_range
    try:
        low, high = map(float, value_range)
    except (TypeError, ValueError):
        low = high = 0.
    if not -np.inf < low < high < np.inf:
        raise ValueError("value_range must be 'full', 'file' or two numbers "
                         f'(low, high) with low < high, got {value_range!r}')
    return low, high


def _next_power(img: np.ndarray) -> int:
    """Return the largest value of as many bits as the image uses."""
    return 2**max(1, int(img.max())).bit_length() - 1


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Load ``mask_path``, a palette or grey PNG, as numbers.

    The result is ``gt_mask`` (H, W; uint8), with the numbers of the file: in
    the benchmarks 0 for the background, 1, 2, ... for objects or classes, and
    255 for void. Later transforms do not resize it with the image.

    Raises:
        ValueError: If the image is neither a palette nor a grey image.
    """

    def transform(self, results: dict) -> dict:
        results['gt_mask'] = _read_numbers(results['mask_path'])
        return results


def _read_numbers(path: str) -> np.ndarray:
    """Read the numbers (H, W; uint8) of a palette or grey PNG."""
    with Image.open(path) as image:
        if image.mode not in ('P', 'L'):
            raise ValueError(
                f'{path} has the mode {image.mode}, but a mask must hold '
                'numbers: write it as a palette (P) or grey (L) PNG.')
        return np.array(image)


@TRANSFORMS.register_module()
class LoadSequence(BaseTransform):
    """Load the frames of a video, resized, and its masks, unchanged.

    The F frames become ``img`` (F, 3, h, w; uint8, BGR): the short side is
    ``short_side``, and the long side is rounded down to a multiple of
    ``divisor``, as in the code of DINO's authors. The resizing is bilinear
    without antialiasing.

    The masks become ``gt_masks`` (F, H, W; uint8): 0 for the background, 1, 2,
    ... for the objects. Void (255) becomes background, as in the
    semi-supervised task of DAVIS. ``first_mask`` (H, W) is the only mask that
    a model may use. ``frame_names`` (F) are the names of the mask files
    without extension.

    Args:
        short_side: Short side of the frames in pixels.
        divisor: The long side is a multiple of so many pixels; at most
            ``short_side``.

    Raises:
        ValueError: If ``divisor`` is out of its range, a mask does not hold
            numbers or has another size than the frames, or the first mask has
            no object.
        UnreadableImageError: If a frame cannot be read.
    """

    def __init__(self, short_side: int = 480, divisor: int = 64) -> None:
        if not 0 < divisor <= short_side:
            raise ValueError('divisor must be positive and at most '
                             f'short_side, got {divisor} and {short_side}')
        self.short_side = short_side
        self.divisor = divisor
        self.load_image = LoadImage(exif_orientation=False)

    def transform(self, results: dict) -> dict:
        """Read the files of ``frame_paths`` and ``mask_paths``."""
        shape = self._load_frame(results['frame_paths'][0]).shape[:2]
        height, width = scaled_size(*shape, self.short_side, self.divisor)
        frames = np.stack([
            mmcv.imresize(self._load_frame(path), (width, height))
            for path in results['frame_paths']
        ])
        masks = np.stack(
            [load_mask(path, shape) for path in results['mask_paths']])
        if not masks[0].any():
            raise ValueError(f'{results["mask_paths"][0]}, the first mask, '
                             'has no object to track: leave the sequence out')
        return dict(
            results,
            img=np.ascontiguousarray(frames.transpose(0, 3, 1, 2)),
            first_mask=masks[0],
            gt_masks=masks,
            frame_names=[Path(path).stem for path in results['mask_paths']],
            ori_shape=shape,
            img_shape=(height, width))

    def _load_frame(self, path: str) -> np.ndarray:
        return self.load_image(dict(img_path=path))['img']


def scaled_size(height: int, width: int, short_side: int,
                divisor: int) -> tuple[int, int]:
    """Return the (height, width) with a given short side.

    The long side is rounded down to a multiple of ``divisor``. In a square the
    height counts as the short side: 480 x 480 pixels become 480 x 448, as in
    the code of DINO's authors.
    """
    long_side = max(height, width) * short_side / min(height, width)
    size = short_side, int(long_side // divisor) * divisor
    return size[::-1] if height > width else size


def load_mask(path: str, shape: tuple[int, int]) -> np.ndarray:
    """Load a mask (H, W; uint8) of a given shape, void (255) as background.

    Raises:
        ValueError: If the mask has another shape or does not hold numbers.
    """
    mask = _read_numbers(path)
    if mask.shape != shape:
        raise ValueError(f'{path} has the size {mask.shape}, but the frames '
                         f'of its sequence have {shape} (height, width)')
    mask[mask == 255] = 0
    return mask
