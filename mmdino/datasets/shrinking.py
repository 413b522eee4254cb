"""Copies of large photos, shrunk once, so that decoding stays fast.

A photo of 12 megapixels takes 0.1 s to decode, a hundred times as long as a
small network takes to learn from it.
"""
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from mmengine.logging import print_log
from PIL import Image, ImageOps

from mmdino.datasets.listing import list_folder
from mmdino.utils.progress import track
from mmdino.utils.resources import cache_folder

SAMPLED = 64  # about so many images are measured to decide on shrinking
GAIN = 4  # shrink images with at least so many times the needed pixels
QUALITY = 95  # of the JPEG files, out of 100


def shrink_folder(root: Path, side: int) -> Path:
    """Return a folder of copies of a folder's images, shrunk to the needed
    size.

    The copies lie in ``~/.cache/mmdino/shrunk``, in the same subfolders. A
    second call adds copies of new or changed images and removes those of
    deleted images. Photos are rotated as their EXIF tag says. Files that are
    not 8-bit RGB or grey images, or cannot be read, are linked unchanged.

    Args:
        root: The folder.
        side: Length of the short side of the copies in pixels.

    Returns:
        The folder of copies; or ``root`` itself if its images are small, that
        is if the short side of the median image is less than twice ``side``.
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
           if _is_stale(folder / name, source)]
    if due:
        print_log(
            f'{len(due)} large images are shrunk once, to a short side of '
            f'{side} px, because decoding the originals would take most of '
            f'the time. The copies are in {folder}, which may be deleted.',
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
    place = str(root.resolve())
    name = f'{root.name}-{sha256(place.encode()).hexdigest()[:12]}-{side}'
    return Path(cache_folder('shrunk', name))


def _is_stale(copy: Path, source: Path) -> bool:
    """Return whether a copy is not of the time of its image.

    An image that replaces another may be older, as after ``cp -p``.
    """
    try:
        # Not each file system keeps nanoseconds.
        return abs(copy.stat().st_mtime - source.stat().st_mtime) > 1e-3
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
        except OSError:  # a file system or a user without symbolic links
            shutil.copyfile(source, part)
    if not part.is_symlink():
        stat = source.stat()
        os.utime(part, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    part.replace(out)


def _small(image: Image.Image, side: int) -> Image.Image:
    """Return the image, upright, with a short side of at most ``side`` px.

    Raises:
        ValueError: If the image is not 8-bit RGB or grey, or is transparent.
    """
    if image.mode not in ('RGB', 'L') or 'transparency' in image.info:
        raise ValueError(image.mode)
    scale = side / min(image.size)
    # The JPEG decoder can shrink by powers of 2 at no cost. The target is
    # twice the side, so that the resampling below still smooths.
    image.draft(None, [round(2 * scale * length) for length in image.size])
    image = ImageOps.exif_transpose(image)
    scale = side / min(image.size)
    if scale >= 1:
        return image
    size = [max(1, round(scale * length)) for length in image.size]
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.)
