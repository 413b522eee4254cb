"""Listing of the images in a folder, an archive or a list file.

The functions ``list_...`` return sorted paths with ``/``, relative to the
folder or archive. The order is the same on every machine.
"""
import logging
import os
import os.path as osp
import re
from collections import Counter
from collections.abc import Iterable
from zipfile import ZipFile

from mmengine.fileio import BaseStorageBackend, register_backend
from mmengine.logging import print_log
from PIL import Image, features

from mmdino.utils.names import printable

ALWAYS = ('.bmp', '.dib', '.gif', '.jfif', '.jpe', '.jpeg', '.jpg', '.npy',
          '.pbm', '.pgm', '.png', '.pnm', '.ppm', '.tga', '.tif', '.tiff',
          '.webp')
JPEG2000 = ('.j2k', '.jp2', '.jpx')
# Formats that not every build of Pillow has, or that need a plug-in.
REGISTERED = ('.avif', '.heic', '.heif', '.hif')
ZIP_PREFIX = 'zip://'
ZIP_SEPARATOR = '!/'
MAX_BYTES = 2**30  # of an unpacked file; larger ones count as zip bombs


def image_extensions() -> tuple[str, ...]:
    """Return the file extensions that can be read here, in lower case.

    They include those that a registered plug-in of Pillow adds, such as
    pillow-heif.
    """
    registered = Image.registered_extensions()
    return tuple(
        sorted((*ALWAYS, *(JPEG2000 if features.check('jpg_2000') else
                           ()), *(e for e in REGISTERED if e in registered))))


def is_image(path: str) -> bool:
    """Return whether a file name has the extension of an image."""
    name = osp.basename(path)
    return name.lower().endswith(image_extensions()) and name[0] != '.'


def choose_images(names: Iterable[str],
                  place: str,
                  prefix: str = '') -> list[str]:
    """Select the images among names, sorted; log once what is left out.

    An image has one of :func:`image_extensions`, in upper or lower case.
    Hidden files and those in hidden folders, such as ``.ipynb_checkpoints``,
    are neither selected nor logged.

    Args:
        names: Paths of files.
        place: Where the files are, for the log.
        prefix: Beginning of all names that is asked for, also if it is hidden.
    """
    extensions, chosen, others = image_extensions(), [], Counter()
    for name in names:
        base = osp.basename(name)
        if not base or _is_hidden(name[len(prefix):]):
            continue
        if base.lower().endswith(extensions):
            chosen.append(name)
        else:
            others[osp.splitext(base)[1].lower() or 'without extension'] += 1
    _tell_once(place, len(chosen), others)
    return sorted(chosen)


def _is_hidden(path: str) -> bool:
    return any(part[0] == '.' for part in path.split('/')
               if part and part not in ('.', '..'))


_told: set[tuple] = set()


def _tell_once(place: str, chosen: int, others: Counter) -> None:
    key = (place, *sorted(others.items()))
    if not others or key in _told:
        return
    _told.add(key)
    kinds = ', '.join(f'{n} {kind}' for kind, n in others.most_common(8))
    more = len(others) - 8
    print_log(
        f'{printable(place)}: {chosen} images; {others.total()} other files '
        f'are left out: {kinds}' +
        (f' and {more} other extensions' if more > 0 else ''),
        logger='current',
        level=logging.WARNING)


def list_folder(root: str) -> list[str]:
    """List the images in ``root`` and its subfolders that are not hidden.

    Links are followed once.
    """

    def fail(error: OSError) -> None:
        raise error

    paths, seen = [], set()
    for folder, subfolders, names in os.walk(
            root, onerror=fail, followlinks=True):
        if osp.realpath(folder) in seen:  # a loop of links
            subfolders.clear()
            continue
        seen.add(osp.realpath(folder))
        subfolders[:] = sorted(s for s in subfolders if s[0] != '.')
        inside = osp.relpath(folder, root)
        paths += [osp.normpath(osp.join(inside, n)) for n in names]
    return choose_images((p.replace(os.sep, '/') for p in paths), f'{root}')


def list_archive(path: str, subset: str = '') -> list[str]:
    """List the images in the folder ``subset`` of a zip archive.

    Args:
        path: The archive.
        subset: A folder in it, which the returned names are relative to; ''
            for the whole archive.

    Raises:
        ValueError: If an image is encrypted.
    """
    prefix = f'{subset.strip("/")}/' if subset.strip('/') else ''
    with ZipFile(path) as archive:
        entries = {
            e.filename: e
            for e in archive.infolist()
            if e.filename.startswith(prefix) and not e.is_dir()
        }
    names = choose_images(entries,
                          osp.join(path, subset) if subset else path, prefix)
    encrypted = [name for name in names if entries[name].flag_bits & 1]
    if encrypted:
        raise ValueError(
            f'{path} holds {len(encrypted)} encrypted images; the first is '
            f'{encrypted[0]!r}. Write the archive without a password')
    return [name[len(prefix):] for name in names]


def read_list(path: str) -> tuple[list[str], list[int] | None]:
    """Read the paths and labels of a list file, one image a line.

    A line is a path that ends in an image extension and may contain spaces.
    After a space, tab or comma an integer label may follow, in every line or
    in none. Empty lines are skipped. Names of files need not be UTF-8: such
    bytes become surrogates, as in Python's own names of files.

    Returns:
        The paths, and their labels or None.

    Raises:
        ValueError: If the file is not text, a line is not of this form,
            or only some lines have a label; names the line.
    """
    with open(path, encoding='utf-8-sig', errors='surrogateescape') as file:
        lines = file.read().split('\n')
    extensions = image_extensions()
    pattern = _line_pattern(extensions)
    paths, labels, first = [], [], None
    for i, line in enumerate(lines, 1):
        if not line.strip():
            continue
        match = pattern.fullmatch(line.strip())
        if not match and printable(line) != line:
            raise ValueError(f'{path} is neither a zip archive nor a list '
                             f'file (UTF-8 text): line {i} is {line[:80]!r}')
        if not match:
            raise ValueError(
                f'{path}, line {i}: {line[:200]!r} is not a path that ends in '
                f'one of {", ".join(extensions)}, followed by an integer '
                'label or nothing')
        paths.append(match['path'])
        if match['label'] is not None:
            labels.append(int(match['label']))
        elif first is None:
            first = match['path']
    if labels and first is not None:
        raise ValueError(f'{path}: only {len(labels)} of {len(paths)} lines '
                         f'have a label; the first without one is {first!r}. '
                         'Give all lines a label, or none')
    return paths, labels or None


def class_folders(paths: Iterable[str]) -> list[str]:
    """Return the sorted names of the top folders of paths.

    The list is empty if an image lies in no folder.
    """
    tops = {p.partition('/')[0] if '/' in p else '' for p in paths}
    return [] if '' in tops else sorted(tops)


def _line_pattern(extensions: Iterable[str]) -> re.Pattern:
    ending = '|'.join(re.escape(e) for e in extensions)
    return re.compile(rf'(?P<path>.*(?:{ending}))(?:[\s,]\s*(?P<label>\d+))?',
                      re.IGNORECASE)


def join_zip_path(archive: str, name: str) -> str:
    """Return the path ``zip://ARCHIVE!/NAME`` of a file in an archive."""
    return f'{ZIP_PREFIX}{osp.abspath(archive)}{ZIP_SEPARATOR}{name}'


@register_backend('zip', prefixes='zip', force=True)
class ZipBackend(BaseStorageBackend):
    """File backend of MMEngine that reads paths of :func:`join_zip_path`.

    All transforms that load files through :mod:`mmengine.fileio` can read
    from archives with it. Each process opens an archive once. A forked worker
    opens its own, because it would share the position in the file with its
    parent.

    Args:
        max_bytes: Refuse files that unpack to more bytes; by default
            ``MAX_BYTES``.
    """

    def __init__(self, max_bytes: int | None = None) -> None:
        self.max_bytes = max_bytes
        self._archives: dict[tuple[int, str], ZipFile] = {}

    def get(self, filepath: str) -> bytes:
        """Return the bytes of a file in an archive."""
        archive, _, name = str(filepath).removeprefix(ZIP_PREFIX).partition(
            ZIP_SEPARATOR)
        entry = self._open(archive).getinfo(name)
        limit = self.max_bytes or MAX_BYTES
        if entry.file_size > limit:
            raise ValueError(
                f'{name} in {archive} unpacks to {entry.file_size / 1e9:.1f} '
                f'GB, and at most {limit / 1e9:.1f} GB are read: raise '
                'max_bytes of LoadImage')
        return self._open(archive).read(entry)

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Return a file in an archive as text."""
        return self.get(filepath).decode(encoding)

    def close(self) -> None:
        """Close all archives."""
        for archive in self._archives.values():
            archive.close()
        self._archives.clear()

    def _open(self, path: str) -> ZipFile:
        key = os.getpid(), path
        if key not in self._archives:
            self._archives[key] = ZipFile(path)
        return self._archives[key]
