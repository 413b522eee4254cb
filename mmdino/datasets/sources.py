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


class Source(Protocol):
    """Interface of a source, which gives samples by number.

    Attributes:
        labels (Sequence[int] | None): One a sample, below 0 for none; None if
            no sample has one, or if ``folders`` tell the classes.
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
        root: What the names are relative to.
        names: Paths with ``/``.
        labels: Those of a list file.
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
        """Return the top folders, [] if an image lies outside of any."""
        return class_folders(self.names)

    def folder(self, index: int) -> str:
        """Return the top folder of an image."""
        return self.names[index].partition('/')[0]


class Members(Files):
    """The images of a zip archive."""

    def path(self, index: int) -> str:
        """Return the path of an image, see :func:`.join_zip_path`."""
        # An absolute name, too, is in the archive.
        return f'{self.root.rstrip("/")}/{self.names[index]}'


def open_source(root: str, subset: str = '') -> Source:
    """Open the source that a path stands for.

    Args:
        root: A folder, a zip archive, a list file (:func:`.read_list`), a tar
            file or a pattern of tar files.
        subset: A folder in it; for a list file, where in its own its paths
            start.

    Raises:
        FileNotFoundError: If there is no such file or folder.
        ValueError: If a file is none of these.
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
                "take all pictures with subset=''.")
        return Files(folder, list_folder(folder))
    if not osp.isfile(root):
        raise FileNotFoundError(
            f'data_root {root!r} does not exist; expected a folder of '
            'images, a zip archive, a list file or tar files')
    if is_zipfile(root):
        return Members(join_zip_path(root, subset), list_archive(root, subset))
    return Files(osp.join(osp.dirname(root), subset), *read_list(root))


def label_samples(
    sources: Sequence[Source],
    classes: Sequence[str] | None = None
) -> tuple[list[int] | None, tuple[str, ...] | None, str]:
    """Return the labels of all samples of several sources, and the classes.

    The sources of which folders are the classes share their classes: sorted
    by name, those of all sources. Integers of list files and of tar files
    mean the same in all sources.

    Args:
        sources: At least one.
        classes: The classes, if they are given.

    Returns:
        The labels, or None where not each sample has one; the names of the
        classes, if folders give them; why there are no labels, else ''.

    Raises:
        ValueError: If a folder is not among ``classes``.
    """
    told = [_integers(source) for source in sources]
    if all(labels is not None for labels in told):
        return [label for labels in told for label in labels], None, ''
    if any(labels is not None for labels in told):
        return None, None, ('some sources have integers as labels, others '
                            'folders or none')
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
