"""Decoding of image files, Pillow images and arrays into pixels.

A file's bytes, a Pillow image and an array give the same pixels: (H, W, C),
uint8, uint16 or float32. Three channels come out as BGR, as everywhere in
OpenMMLab; any other number keeps the order of the file.
"""
import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

try:
    import tifffile
except ImportError:  # comes with the extra `tiff`
    tifffile = None

COLOR_TYPES = ('color', 'grayscale', 'unchanged')
FULL_RANGE = {'uint8': 255., 'uint16': 65535., 'float32': 255.}
ORIENTATION = 0x112  # EXIF tag
# What undoes each value of the tag: transpose, flip rows, flip columns.
TURNED = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
BITS_PER_SAMPLE, SAMPLES_PER_PIXEL = 258, 277  # TIFF tags
# Formats that OpenCV reads faster than Pillow, with the same 8-bit levels.
FAST = {'JPEG', 'MPO', 'PNG', 'WEBP'}


def decode(data: bytes,
           color_type: str = 'color',
           turn: bool = True,
           max_pixels: int | None = None) -> np.ndarray:
    """Decode the pixels of a file; of an animation, the first picture.

    Args:
        data: Content of the file, in any format of Pillow, OpenCV and, if it
            is installed, tifffile, or a ``.npy`` file without objects.
        color_type: 'color' gives 3 channels, 'grayscale' 1 channel and
            'unchanged' those of the file; the pages of a TIFF are then
            channels too.
        turn: Whether to rotate the image as its EXIF tag says.
        max_pixels: Refuse images of more pixels before they fill the memory;
            by default twice ``PIL.Image.MAX_IMAGE_PIXELS``.

    Returns:
        The pixels (H, W, C), see the top of this module.

    Raises:
        Exception: Of any type, depending on the decoder of a damaged file.
    """
    if data.startswith(b'\x93NUMPY'):
        return from_array(_load_npy(data, max_pixels), color_type)
    _check_end(data)
    with _pixel_limit(max_pixels):
        header = _open(data, max_pixels)
        img = _decode_fast(data, header, color_type)
        if img is None:
            img = _decode_deep(data, header, color_type)
        if img is None and header is not None:
            return from_pillow(header, color_type, turn)
        if img is None:
            raise ValueError(_explain(data))
        orientation = _orientation(header, data) if turn else 1
    return _as_channels(turned(img, orientation), color_type)


def from_pillow(image: Image.Image,
                color_type: str = 'color',
                turn: bool = True) -> np.ndarray:
    """Return the pixels of a Pillow image of any mode; see :func:`decode`."""
    frames = getattr(image, 'n_frames', 1)
    if color_type == 'unchanged' and image.format == 'TIFF' and frames > 1:
        return _stack_pages(image, frames)
    image.load()
    orientation = image.getexif().get(ORIENTATION, 1) if turn else 1
    pixels = turned(_pillow_pixels(image, color_type), orientation)
    return _as_channels(pixels, color_type)


def from_array(array: np.ndarray, color_type: str = 'color') -> np.ndarray:
    """Return the pixels of an array (H, W) or (H, W, C); 3 channels are RGB.

    Raises:
        ValueError: If it has another shape, or values that are not numbers,
            are NaN or are infinite.
    """
    if array.ndim not in (2, 3) or not array.size:
        raise ValueError('an array must be (H, W) or (H, W, C), not empty, '
                         f'got {array.shape}')
    pixels = _known_type(array if array.ndim == 3 else array[..., None])
    if pixels.shape[2] == 3:
        pixels = pixels[..., ::-1]
    return _as_channels(pixels, color_type)


def to_levels(img: np.ndarray,
              value_range: str | tuple = 'full') -> np.ndarray:
    """Map an image of any type to levels 0 to 255, uint8.

    A uint8 image is returned unchanged.

    Args:
        img: (H, W, C); uint8, uint16 or float32.
        value_range: The values that become 0 and 255: 'full', which is 0 and
            65535 for uint16, 0 and 255 for float32; 'file', the least and the
            greatest value of this image; or (low, high), beyond which values
            are clipped.

    Raises:
        ValueError: If ``value_range`` is 'full' and values are outside of it.
    """
    if img.dtype == np.uint8:
        return img
    if value_range == 'full':
        full = FULL_RANGE[img.dtype.name]
        if img.dtype == np.uint16:
            return (img >> 8).astype(np.uint8)
        if img.min() < 0 or img.max() > full:
            raise ValueError(
                f'its values, {img.min():g} to {img.max():g}, are outside of '
                f'0 to {full:g}: give LoadImage value_range=(low, high) or '
                "'file'")
        return (img + .5).astype(np.uint8)
    low, high = ((float(img.min()),
                  float(img.max())) if value_range == 'file' else value_range)
    scale = 255 / (high - low) if high > low else 0.
    levels = (img.astype(np.float32) - np.float32(low)) * np.float32(scale)
    return (levels.clip(0, 255) + .5).astype(np.uint8)


def used_share(img: np.ndarray) -> float:
    """Return the largest value as a fraction of the full range."""
    return float(img.max()) / FULL_RANGE[img.dtype.name]


def turned(img: np.ndarray, orientation: int) -> np.ndarray:
    """Rotate and mirror an image as its EXIF orientation says."""
    if orientation not in TURNED:
        return img
    transpose, flip_rows, flip_columns = TURNED[orientation]
    img = img.swapaxes(0, 1) if transpose else img
    img = img[::-1] if flip_rows else img
    return img[:, ::-1] if flip_columns else img


def _as_channels(img: np.ndarray, color_type: str) -> np.ndarray:
    """Return contiguous (H, W, 3) for 'color', (H, W, 1) for 'grayscale'."""
    channels = img.shape[2]
    if color_type != 'unchanged' and channels not in (1, 3):
        raise ValueError(
            f'it is (H, W, C) = {img.shape}, of {channels} channels: give '
            f"LoadImage color_type='unchanged' and the model {channels} input "
            'channels')
    if color_type == 'color' and channels == 1:
        img = np.repeat(img, 3, axis=2)
    if color_type == 'grayscale' and channels == 3:
        img = cv2.cvtColor(np.ascontiguousarray(img), cv2.COLOR_BGR2GRAY)[...,
                                                                          None]
    # np.ascontiguousarray keeps the negative strides of sides of one pixel.
    plain = img.flags.c_contiguous and img.flags.writeable and all(
        stride >= 0 for stride in img.strides)
    return img if plain else img.copy()


def _known_type(array: np.ndarray) -> np.ndarray:
    """Return the array as uint8, uint16 or float32, in native byte order."""
    kind = array.dtype.newbyteorder('=')
    if kind == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if kind in (np.uint8, np.uint16):
        return array.astype(kind, copy=False)
    if kind.kind not in 'iuf':
        raise ValueError(f'its values are of the type {kind}: convert them '
                         'to uint8, uint16 or float32')
    array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        raise ValueError('it holds NaN or infinite values: replace them')
    return array


def _open(data: bytes, max_pixels: int | None) -> Image.Image | None:
    """Open an image with Pillow, which reads the header; None if it cannot."""
    try:
        image = Image.open(io.BytesIO(data))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        return None  # OpenCV may be able to read it
    check_size(image.width * image.height, max_pixels)
    if image.format == 'TIFF':
        samples = image.tag_v2.get(SAMPLES_PER_PIXEL, 1)
        bands = len(image.getbands())
        # Pillow would take the first of several planes as the image.
        if samples > 1 and samples != bands and image.mode != 'RGB':
            return None
    return image


@contextmanager
def _pixel_limit(max_pixels: int | None) -> Iterator[None]:
    """Set Pillow's limit of pixels, and silence its warning, in a context.

    Pillow's own error becomes that of :func:`check_size`.
    """
    kept = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        if max_pixels is not None:
            Image.MAX_IMAGE_PIXELS = max_pixels // 2 + 1
        try:
            yield
        except Image.DecompressionBombError as error:
            pixels = int(re.search(r'\d+', str(error))[0])
            check_size(pixels, 2 * kept if max_pixels is None else max_pixels)
            raise
        finally:
            Image.MAX_IMAGE_PIXELS = kept


def check_size(pixels: int, max_pixels: int | None) -> None:
    """Raise an error for an image of more than ``max_pixels``, if given."""
    if max_pixels is not None and pixels > max_pixels:
        raise Image.DecompressionBombError(
            f'it has {pixels} pixels, and at most {max_pixels} are read: '
            'raise max_pixels of LoadImage')


def _check_end(data: bytes) -> None:
    """Raise an error for a truncated JPEG, which some decoders fill with grey.

    The end marker of the image must come after the start of its last scan;
    an earlier one is that of an embedded thumbnail.
    """
    if data.startswith(b'\xff\xd8') and not data.endswith(b'\xff\xd9'):
        if data.rfind(b'\xff\xd9') < data.rfind(b'\xff\xda'):
            raise ValueError('the JPEG is truncated: copy it again')


def _load_npy(data: bytes, max_pixels: int | None) -> np.ndarray:
    array = np.load(io.BytesIO(data), allow_pickle=False)
    check_size(int(np.prod(array.shape[:2])), max_pixels)
    return array


def _decode_fast(data: bytes, header: Image.Image | None,
                 color_type: str) -> np.ndarray | None:
    """Decode common 8-bit formats with OpenCV into (H, W, 3), BGR.

    Returns None for files that need another decoder.
    """
    if header is None or header.format not in FAST or _is_deep_png(data):
        return None
    if header.mode == 'CMYK':  # OpenCV differs from Pillow by a level
        return None
    if color_type == 'unchanged' and header.mode != 'RGB':
        return None
    if color_type == 'grayscale' and header.mode in ('1', 'L', 'LA'):
        return None
    img = cv2.imdecode(
        np.frombuffer(data, np.uint8),
        cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if img is None and header.format != 'WEBP':
        raise ValueError('damaged, cut off or not an image')
    return img


def _decode_deep(data: bytes, header: Image.Image | None,
                 color_type: str) -> np.ndarray | None:
    """Decode files that Pillow cannot read, or reads with 8 bits only."""
    if _is_tiff(data) and (header is None or _is_deep_tiff(header)):
        return _decode_tiff(data, header, color_type)
    deep = header is None or _is_deep_png(data) or header.format == 'JPEG2000'
    if not deep and not (header.format == 'PPM' and header.mode == 'RGB'):
        return None
    if header is not None and header.mode in ('I', 'I;16', 'F', '1', 'P'):
        return None
    img = cv2.imdecode(
        np.frombuffer(data, np.uint8),
        cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if img is None or (header is not None and img.dtype == np.uint8):
        return None
    return _from_opencv(img, header and header.mode, color_type)


def _from_opencv(img: np.ndarray, mode: str | None,
                 color_type: str) -> np.ndarray:
    """Return BGR, or the channels as in the file; alpha if 'unchanged'."""
    img = _known_type(img if img.ndim == 3 else img[..., None])
    if img.shape[2] != 4:
        return img
    if mode == 'LA':
        img = img[..., [0, 3]]
        return img if color_type == 'unchanged' else img[..., :1]
    return img[...,
               [2, 1, 0, 3]] if color_type == 'unchanged' else img[..., :3]


def _is_tiff(data: bytes) -> bool:
    return data[:4] in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+')


def _is_deep_tiff(header: Image.Image) -> bool:
    """Return whether a TIFF has several channels of more than 8 bits.

    Pillow reduces these to 8 bits.
    """
    bits = header.tag_v2.get(BITS_PER_SAMPLE, (1, ))
    return len(header.getbands()) > 1 and max(np.atleast_1d(bits)) > 8


def _decode_tiff(data: bytes, header: Image.Image | None,
                 color_type: str) -> np.ndarray:
    """Decode a TIFF of many channels, or RGB of more than 8 bits."""
    if header is not None and header.mode == 'RGB':
        img = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        if img is not None and img.ndim == 3 and img.shape[2] == 3:
            return _known_type(img)
    if tifffile is None:
        raise ValueError(
            'a TIFF that neither Pillow nor OpenCV can read, for example one '
            "of many channels: pip install tifffile, or 'mmdino[tiff]'")
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = file.pages if color_type == 'unchanged' else file.pages[:1]
        # The channels are 'S', before the rows or after the columns.
        arrays = [
            np.moveaxis(page.asarray(), 0, -1)
            if page.axes.startswith('S') else page.asarray() for page in pages
        ]
        rgb = file.pages[0].photometric == tifffile.PHOTOMETRIC.RGB
    img = _join_pages(arrays)
    if rgb and img.shape[2] > 3 and color_type != 'unchanged':
        img = img[..., :3]
    return img[..., ::-1] if img.shape[2] == 3 else img


def _stack_pages(image: Image.Image, frames: int) -> np.ndarray:
    """Stack the pages of a TIFF as channels."""
    pages = []
    for i in range(frames):
        image.seek(i)
        pages.append(_pillow_pixels(image, 'unchanged'))
    image.seek(0)
    return _join_pages(pages)


def _join_pages(pages: list[np.ndarray]) -> np.ndarray:
    shapes = sorted({page.shape[:2] for page in pages})
    if len(shapes) > 1:
        raise ValueError(
            f'its pages have several sizes, {shapes}, and cannot be the '
            "channels of one image: give LoadImage color_type='color' to "
            'read the first page only')
    return _known_type(
        np.concatenate([p if p.ndim == 3 else p[..., None] for p in pages],
                       axis=2))


def _pillow_pixels(image: Image.Image, color_type: str) -> np.ndarray:
    """Return the pixels (H, W, C) of a Pillow image, RGB turned into BGR."""
    mode = image.mode
    if mode == 'I':
        return _from_int32(np.asarray(image)[..., None])
    if mode == 'F' or mode.startswith('I;16'):
        return _known_type(np.asarray(image)[..., None])
    if mode == 'La':  # grey, premultiplied by alpha
        image = Image.merge('LA', _divided(image))
        mode = 'LA'
    if mode in ('1', 'L') or (mode == 'LA' and color_type != 'unchanged'):
        return np.asarray(image.convert('L'))[..., None]
    if color_type == 'unchanged' and mode in ('LA', 'RGBA', 'CMYK'):
        return np.asarray(image)
    if color_type == 'unchanged' and mode in ('PA', 'RGBa'):
        return np.asarray(image.convert('RGBA'))
    if mode == 'RGBa':
        image = image.convert('RGBA')
    return np.asarray(image.convert('RGB'))[..., ::-1]


def _divided(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Return grey and alpha of an image of Pillow's mode La.

    In this mode grey is premultiplied by alpha; here it is divided again.
    """
    gray, alpha = np.moveaxis(np.asarray(image), 2, 0)
    level = 255. * gray / np.maximum(alpha, 1)
    gray = np.minimum(level + .5, 255).astype(np.uint8)
    return Image.fromarray(gray), Image.fromarray(np.array(alpha))


def _from_int32(pixels: np.ndarray) -> np.ndarray:
    """Return uint16 if the values fit, else float32.

    Older versions of Pillow return 16-bit images as int32.
    """
    if pixels.min() < 0 or pixels.max() > FULL_RANGE['uint16']:
        return pixels.astype(np.float32)
    return pixels.astype(np.uint16)


def _is_deep_png(data: bytes) -> bool:
    return data.startswith(b'\x89PNG') and data[24:25] == b'\x10'


def _orientation(header: Image.Image | None, data: bytes) -> int:
    """Return the EXIF orientation, 1 if there is none."""
    if header is None:
        return 1
    # Pillow decodes a whole PNG to find its tags: search the bytes first.
    if header.format == 'PNG' and not any(
            mark in data
            for mark in (b'eXIf', b'tiff:Orientation', b'type exif')):
        return 1
    return header.getexif().get(ORIENTATION, 1)


def _explain(data: bytes) -> str:
    if not data:
        return 'the file is empty'
    if data[4:12] in (b'ftypheic', b'ftypmif1', b'ftypheix', b'ftypmsf1'):
        return ('a HEIC image: pip install pillow-heif, and name in the '
                "config's custom_imports a module of yours that calls "
                'pillow_heif.register_heif_opener()')
    return 'damaged, cut off or not an image'
