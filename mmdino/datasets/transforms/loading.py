"""Load images, masks and videos; errors name the file."""
import io
import warnings
from pathlib import Path

import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

from mmdino.registry import TRANSFORMS


class UnreadableImageError(RuntimeError):
    """A file that is missing, damaged or not an image."""


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Load an image; raise one kind of error for every bad file.

    Unlike with mmcv's LoadImageFromFile, a data set can tell a bad file,
    which it replaces, from a mistake in the pipeline, which must stop the
    run. Gray, palette, alpha, CMYK and 16-bit images come out as (H, W, 3)
    uint8 BGR, turned as their EXIF tag says; of animated ones the first
    picture. Larger ones than ``PIL.Image.MAX_IMAGE_PIXELS`` allows, 179
    million pixels, are refused before they fill the memory.

    Raises:
        UnreadableImageError: Names the file and the cause.
    """

    def transform(self, results: dict) -> dict:
        try:
            img = self._load(results['img_path'])
        # Whatever a damaged file makes a decoder or zipfile raise.
        except Exception as error:
            raise UnreadableImageError(
                f'{results["img_path"]}: {type(error).__name__}: '
                f'{str(error).strip()}') from error
        results.update(
            img=img, img_shape=img.shape[:2], ori_shape=img.shape[:2])
        return results

    def _load(self, path: str) -> np.ndarray:
        data = fileio.get(path, backend_args=self.backend_args)
        _check_size(data)
        _check_end(data)
        img = mmcv.imfrombytes(
            data, flag=self.color_type, backend=self.imdecode_backend)
        if img is None:
            raise ValueError('damaged, cut off or not an image')
        return img.astype(np.float32) if self.to_float32 else img


def _check_size(data: bytes) -> None:
    """Refuse a decompression bomb by the size in its header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            Image.open(io.BytesIO(data)).close()
    except Image.DecompressionBombError:
        raise
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        pass  # OpenCV reads what Pillow does not


def _check_end(data: bytes) -> None:
    """Refuse a JPEG that is cut off: some decoders fill it up with gray.

    Its end marker stands after its last scan, a thumbnail's before that.
    """
    if data.startswith(b'\xff\xd8') and not data.endswith(b'\xff\xd9'):
        if data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda'):
            raise ValueError('the JPEG is cut off')


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Load ``mask_path``, a PNG of numbers with a palette or grey, as it is.

    It becomes ``gt_mask`` (H, W; uint8), not resized with the image: 0 for
    the background, then one number an object, and whatever stands for void.

    Raises:
        ValueError: If the file is no image of numbers.
    """

    def transform(self, results: dict) -> dict:
        results['gt_mask'] = _read_numbers(results['mask_path'])
        return results


def _read_numbers(path: str) -> np.ndarray:
    """The numbers (H, W; uint8) of a palette or grey PNG."""
    with Image.open(path) as image:
        if image.mode not in ('P', 'L'):
            raise ValueError(
                f'{path} has the mode {image.mode}, but a mask holds '
                'numbers: a PNG with a palette (P) or grey (L).')
        return np.array(image)


@TRANSFORMS.register_module()
class LoadSequence(BaseTransform):
    """Load a video's frames, scaled, and its masks, as they are.

    Frames become ``img`` (F, 3, h, w; uint8, BGR): their short side is
    ``short_side``, their long side is rounded down to a multiple of
    ``divisor``, as in the authors' code. Bilinear without antialiasing.

    Masks become ``gt_masks`` (F, H, W; uint8), 0 for the background, then one
    number an object; void (255) is background, as in the benchmark's
    semi-supervised task. ``first_mask`` (H, W) may be looked at.
    ``frame_names`` (F) are the files' names without extension.

    Args:
        short_side (int): In pixels.
        divisor (int): In pixels, at most ``short_side``.

    Raises:
        ValueError: If ``divisor`` is out of its range; if a mask is no image
            of numbers, of another size, or the first and has no object.
        UnreadableImageError: If a frame cannot be read.
    """

    def __init__(self, short_side: int = 480, divisor: int = 64) -> None:
        if not 0 < divisor <= short_side:
            raise ValueError('divisor must be positive and at most '
                             f'short_side, got {divisor} and {short_side}')
        self.short_side = short_side
        self.divisor = divisor
        self.load_image = LoadImage()

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
                             'has no object: there is nothing to follow')
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
    """Size with the given short side, the long side rounded down.

    The height of a square counts as short: 480 x 480 pixels become 480 x 448,
    as in the authors' code.
    """
    long_side = max(height, width) * short_side / min(height, width)
    size = short_side, int(long_side // divisor) * divisor
    return size[::-1] if height > width else size


def load_mask(path: str, shape: tuple[int, int]) -> np.ndarray:
    """A mask (H, W; uint8) of the given shape, void (255) as background."""
    mask = _read_numbers(path)
    if mask.shape != shape:
        raise ValueError(f'{path} has the size {mask.shape}, the frames of '
                         f'its sequence have {shape} (height, width)')
    mask[mask == 255] = 0
    return mask
