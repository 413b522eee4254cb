"""Image loading that says which file it could not read."""
import io
import warnings

import mmcv
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from PIL import Image, UnidentifiedImageError

from mmdino.registry import TRANSFORMS


class UnreadableImageError(RuntimeError):
    """A file that is missing, damaged or not an image."""


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's LoadImageFromFile with one kind of error for every bad file.

    So that a data set can tell a bad file, which it replaces, from a mistake
    in the pipeline, which must stop the run. Gray, palette, alpha, CMYK and
    16-bit images come out as (H, W, 3) uint8 BGR, turned as their EXIF tag
    says; of animated ones the first picture. Larger ones than Pillow takes,
    179 million pixels, are refused before they fill the memory; its
    ``PIL.Image.MAX_IMAGE_PIXELS`` moves that bound.

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

    Its end marker stands after its last scan; one before that belongs to a
    thumbnail.
    """
    if data.startswith(b'\xff\xd8') and not data.endswith(b'\xff\xd9'):
        if data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda'):
            raise ValueError('the JPEG is cut off')
