"""Sources of images: a folder, a zip archive, a list file or tar files.

A *source* lists its samples and reads one of them.
"""
import os
import os.path as osp
from collections.abc import Sequence
from typing import Protocol
from zipfile import is_zipfile

from mmengine import fileio

from mmdino.datasets.listing import (class_folders, join_zip_path,
                                     list_archive, list_folder, read_list)
from mmdino.datasets.tar_shards import TarShards, list_shards
from mmdino.utils.names import printable


class Source(Protocol):
    """Interface of a source, which gives samples by number.

    Attributes:
        labels (Sequence[int] | None): One label for each sample, below 0 for
            no label; None if no sample has one, or if the classes are those
            of ``folders``.
    """

    def __len__(self) -> int:
        ...

    def path(self, index: int) -> str:
        """Return a path of an image that :mod:`mmengine.fileio` can read."""

    def read(self, index: int) -> bytes:
        """Return the bytes of an image file."""


class Files:
    """The images of a folder, a zip archive or a list file.

    Args:
        root: Folder that the names are relative to.
        names: Paths of the images, with ``/``.
        labels: Labels of a list file.
    """

    def __init__(self,
                 root: str,
                 names: Sequence[str],
                 labels: Sequence[int] | None = None) -> None:
        self.root = root
        self.names = names
        self.labels = labels

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        """Return the path of an image."""
        return osp.join(self.root, self.names[index])

    def read(self, index: int) -> bytes:
        """Return the bytes of an image file."""
        return fileio.get(self.path(index))

    def folders(self) -> list[str]:
        """Return the top folders, or [] if an image lies in none."""
        return class_folders(self.names)

    def folder(self, index: int) -> str:
        """Return the top folder of an image."""
        return self.names[index].partition('/')[0]


class Members(Files):
    """The images of a zip archive."""

    def path(self, index: int) -> str:
        """Return the path of an image, see :func:`.join_zip_path`."""
        # Unlike osp.join, this also keeps an absolute name in the archive.
        return f'{self.root.rstrip("/")}/{self.names[index]}'


def open_source(root: str, subset: str = '') -> Source:
    """Open the source that a path stands for.

    Args:
        root: A folder, a zip archive, a list file (:func:`.read_list`), a tar
            file or a pattern of tar files.
        subset: A folder in ``root``; for a list file, the folder beside it
            that its paths are relative to.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If a file is none of these, or a list file is neither UTF-8
            nor in the bytes of the files' names.
    """
    root = osp.expanduser(root)
    if root.endswith('.tar'):
        return TarShards(list_shards(root, subset))
    if osp.isdir(root):
        folder = osp.join(root, subset)
        if not osp.isdir(folder):
            found = sorted(e.name for e in os.scandir(root) if e.is_dir())
            raise FileNotFoundError(
                f'{root} has no folder {subset!r} (subset), but '
                f'{", ".join(found[:5]) or "none"}'
                f'{", ..." if len(found) > 5 else ""}: name one of them, or '
                "use all images by subset=''.")
        return Files(folder, list_folder(folder))
    if not osp.isfile(root):
        raise FileNotFoundError(
            f'data_root {root!r} does not exist; give a folder of images, a '
            'zip archive, a list file or tar files')
    if is_zipfile(root):
        return Members(join_zip_path(root, subset), list_archive(root, subset))
    names, labels = read_list(root)
    folder = osp.join(osp.dirname(root), subset)
    _check_bytes(names, folder, root)
    return Files(folder, names, labels)


def _check_bytes(names: Sequence[str], folder: str, root: str) -> None:
    """Raise an error if names that are not UTF-8 are not those of files."""
    for name in names:
        odd = not name.isascii() and printable(name) != name
        if odd and not osp.lexists(osp.join(folder, name)):
            raise ValueError(
                f'{root} is not UTF-8: it names {printable(name)}, and '
                f'{folder or "."} has no file of these bytes. Save the list '
                'as UTF-8.')


def label_samples(
    sources: Sequence[Source],
    classes: Sequence[str] | None = None
) -> tuple[list[int] | None, tuple[str, ...] | None, str]:
    """Return the labels of all samples of several sources, and the classes.

    If the classes are folders, they are the sorted names of the top folders
    of all sources: folders of the same name are one class. Integer labels of
    list files and tar files mean the same class in all sources.

    Args:
        sources: At least one source.
        classes: Names of the classes in their order; by default those of the
            folders.

    Returns:
        The labels, or None if a sample has none; the names of the classes, if
        they are folders, else None; the reason why there are no labels, or ''.

    Raises:
        ValueError: If a folder is not among ``classes``.
    """
    told = [_integers(source) for source in sources]
    if all(labels is not None for labels in told):
        return [label for labels in told for label in labels], None, ''
    if any(labels is not None for labels in told):
        return None, None, ('some sources have integer labels, others have '
                            'class folders or no labels')
    folders = [getattr(s, 'folders', list)() for s in sources]
    if not all(folders):
        return None, None, 'not every image lies in the folder of a class'
    found = sorted({name for names in folders for name in names})
    names = tuple(classes or found)
    unknown = sorted(set(found) - set(names))
    if unknown:
        raise ValueError(f'the folders {unknown}, which are not among the '
                         f'{len(names)} classes')
    numbers = {name: i for i, name in enumerate(names)}
    labels = [
        numbers[source.folder(i)] for source in sources
        for i in range(len(source))
    ]
    return labels, names, ''


def _integers(source: Source) -> Sequence[int] | None:
    """Return a source's own labels, if each sample has one."""
    labels = source.labels
    if labels is None or min(labels, default=-1) < 0:
        return None
    return [int(label) for label in labels]
