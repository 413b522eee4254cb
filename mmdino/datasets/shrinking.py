"""Copies of large photos, shrunk once, so that decoding stays fast.

A photo of 12 megapixels takes 0.1 s to decode, a hundred times as long as a
small network takes to learn from it.
"""
import os
import os.path as osp
import shutil
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from mmengine.logging import print_log
from PIL import Image, ImageOps

from mmdino.datasets.listing import list_folder
from mmdino.utils.progress import track

SAMPLED = 64  # images whose sizes tell whether it pays
GAIN = 4  # times as many pixels as are needed, at least
QUALITY = 95  # of the JPEGs


def shrink_folder(root: Path, side: int) -> Path:
    """Return a folder of copies of a folder's images, shrunk to the needed
    size.

    It lies in ``~/.cache/mmdino/shrunk``, with the same folders; a second
    call makes what is new, and removes what is gone. Photos are turned as
    their EXIF tag says. What is no 8-bit RGB or gray picture, or cannot be
    read, is linked as it is.

    Args:
        root: The folder.
        side: Pixels that the short side keeps.

    Returns:
        The copy, or ``root`` itself if its images are small: if the median
        one has fewer than four times as many pixels as are needed.
    """
    names = list_folder(str(root))
    if not names or not _are_large(root, names, side):
        return root
    folder = _cache_of(root, side)
    wanted = {f'{name}.jpg': root / name for name in names}
    for name in list_folder(str(folder)) if folder.is_dir() else ():
        if name not in wanted:
            (folder / name).unlink()
    due = [(source, folder / name) for name, source in wanted.items()
           if _is_older(folder / name, source)]
    if due:
        print_log(
            f'{len(due)} large images are shrunk once, to {side} px on the '
            f'short side, into {folder}: from the originals the processor '
            'would do little but decode. Delete that folder at will.',
            logger='current')
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = [pool.submit(_shrink, *pair, side) for pair in due]
        for future in track(futures, 'Shrinking'):
            future.result()
    return folder


def _are_large(root: Path, names: list[str], side: int) -> bool:
    shorts = []
    for name in names[::max(1, len(names) // SAMPLED)]:
        try:
            with Image.open(root / name) as image:
                shorts.append(min(image.size))
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
    shorts.sort()
    return bool(shorts) and shorts[len(shorts) // 2]**2 >= GAIN * side**2


def _cache_of(root: Path, side: int) -> Path:
    cache = os.environ.get('XDG_CACHE_HOME') or osp.expanduser('~/.cache')
    place = str(root.resolve())
    name = f'{root.name}-{sha256(place.encode()).hexdigest()[:12]}-{side}'
    return Path(cache, 'mmdino', 'shrunk', name)


def _is_older(copy: Path, source: Path) -> bool:
    try:
        return copy.stat().st_mtime < source.stat().st_mtime
    except OSError:
        return True


def _shrink(source: Path, out: Path, side: int) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f'.{out.name}.{os.getpid()}')
    try:
        with Image.open(source) as image:
            small = _small(image, side)
            small.save(part, 'JPEG', quality=QUALITY, subsampling=0)
    except (OSError, ValueError, Image.DecompressionBombError):
        part.unlink(missing_ok=True)
        try:
            part.symlink_to(source.resolve())
        except OSError:  # where links need a permission
            shutil.copyfile(source, part)
    part.replace(out)


def _small(image: Image.Image, side: int) -> Image.Image:
    """Return the image, upright, with a short side of at most ``side`` px.

    Raises:
        ValueError: If it is no picture of 8 bits, RGB or gray.
    """
    if image.mode not in ('RGB', 'L') or 'transparency' in image.info:
        raise ValueError(image.mode)
    scale = side / min(image.size)
    # The decoder of JPEGs halves for nothing; twice the side for smoothness.
    image.draft(None, [round(2 * scale * length) for length in image.size])
    image = ImageOps.exif_transpose(image)
    scale = side / min(image.size)
    if scale >= 1:
        return image
    size = [max(1, round(scale * length)) for length in image.size]
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.)
