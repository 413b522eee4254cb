"""Reading of tar files in WebDataset layout, without unpacking."""
import itertools
import os
import os.path as osp
import re
import tarfile
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO

import numpy as np
from mmengine.fileio import BaseStorageBackend, register_backend

from mmdino.datasets.shard_index import BLOCK, ShardError, open_index

TAR_PREFIX = 'tar://'
TAR_SEPARATOR = '!/'
CLASSES_FILE = 'classes.txt'


class TarShards:
    """The images of tar files, as a :class:`.ArraySource`.

    Args:
        shards: Paths of the files, in their order.
        extensions: See :class:`.Shards`.
        cache_dir: See :class:`.Shards`.

    Attributes:
        starts (np.ndarray): (S + 1,), see :class:`.ShardIndex`.
    """

    def __init__(self,
                 shards: Sequence[str],
                 extensions: Sequence[str] | None = None,
                 cache_dir: str | None = None) -> None:
        self.shards = [osp.abspath(shard) for shard in shards]
        self.index = open_index(self.shards, extensions, cache_dir)
        self.starts = self.index.starts
        self.without_label = self.index.without_label
        self.first_without = self.index.first_without
        self.max_label = self.index.max_label

    def __len__(self) -> int:
        return len(self.index.rows)

    @property
    def labels(self) -> np.ndarray:
        """Return the labels (N,), :data:`NO_LABEL` where there is none."""
        return self.index.rows['label']

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Return the names of the classes, or None."""
        path = osp.join(osp.dirname(self.shards[0]), CLASSES_FILE)
        if not osp.isfile(path):
            return None
        with open(path, encoding='utf-8') as file:
            return tuple(file.read().splitlines())

    def path(self, index: int) -> str:
        """Return ``tar://SHARD!/NAME#BYTE+BYTES``, which the backend reads.

        Raises:
            ShardError: If the shard has changed since the index was built.
        """
        shard, row = self._find(index)
        begin = int(row['block']) * BLOCK
        headers = int(row['headers']) * BLOCK
        name = _name(_pread(shard, headers, begin - headers), int(row['size']))
        if name is None:
            raise ShardError(
                f'{shard} has changed since its index was read: there is no '
                f'file of {row["size"]} bytes at byte {begin}. Start again: '
                'the index is then built again')
        place = f'{begin}+{row["size"]}'
        return f'{TAR_PREFIX}{shard}{TAR_SEPARATOR}{name}#{place}'

    def read(self, index: int) -> bytes:
        """Return the bytes of an image file."""
        shard, row = self._find(index)
        return _pread(shard, int(row['size']), int(row['block']) * BLOCK)

    def _find(self, index: int) -> tuple[str, np.void]:
        number = int(np.searchsorted(self.starts, index, side='right')) - 1
        return self.shards[number], self.index.rows[index]


@register_backend('tar', prefixes='tar', force=True)
class TarBackend(BaseStorageBackend):
    """File backend that reads images in tar files, by :meth:`TarShards.path`.
    """

    def get(self, filepath: str) -> bytes:
        """Return the bytes of an image file."""
        path, _, place = str(filepath).rpartition('#')
        shard, separator, _ = path.removeprefix(TAR_PREFIX).rpartition(
            TAR_SEPARATOR)
        begin, _, size = place.partition('+')
        if not separator or not (begin.isdigit() and size.isdigit()):
            raise ValueError(
                f'{filepath!r} is not a path of an image in a shard, which '
                f'has the form {TAR_PREFIX}SHARD{TAR_SEPARATOR}'
                'NAME#BYTE+BYTES')
        return _pread(shard, int(size), int(begin))

    def get_text(self, filepath: str, encoding: str = 'utf-8') -> str:
        """Return a file in a shard as text."""
        return self.get(filepath).decode(encoding)


def list_shards(data_root: str | Sequence[str], subset: str = '') -> list[str]:
    """List the tar files of a folder, a pattern or a list.

    Whether the files of a pattern exist is not checked here: the index does
    it, on one rank.

    Args:
        data_root: As in :class:`.Shards`.
        subset: As in :class:`.Shards`.

    Raises:
        FileNotFoundError: If a folder has no tar file.
        ValueError: If a shard is named twice, or ``subset`` is given with a
            list.
    """
    if not isinstance(data_root, str):
        if subset:
            raise ValueError(f'subset={subset!r} needs a folder as data_root, '
                             f'got the list {data_root}')
        shards = [s for root in data_root for s in list_shards(root)]
    else:
        root = osp.expanduser(data_root)
        root = osp.join(root, subset) if subset else root
        shards = _tars_in(root) if osp.isdir(root) else expand_braces(root)
    if len(set(shards)) < len(shards):
        twice = next(s for s in shards if shards.count(s) > 1)
        raise ValueError(f'data_root names the shard {twice} twice')
    return shards


def expand_braces(pattern: str) -> list[str]:
    """Expand ``{000..099}`` and ``{a,b}`` as Bash does; they cannot nest."""
    pieces = re.split(r'\{([^{}]*)\}', pattern)
    choices = [[piece] if i % 2 == 0 else _choices(piece)
               for i, piece in enumerate(pieces)]
    return [''.join(parts) for parts in itertools.product(*choices)]


def _choices(piece: str) -> list[str]:
    match = re.fullmatch(r'(\d+)\.\.(\d+)', piece)
    if not match:
        return piece.split(',') if ',' in piece else [f'{{{piece}}}']
    first, last = match.groups()
    width = len(first) if first.startswith('0') else 0
    step = 1 if int(first) <= int(last) else -1
    return [f'{n:0{width}}' for n in range(int(first), int(last) + step, step)]


def _tars_in(folder: str) -> list[str]:
    names = sorted(os.listdir(folder))
    shards = [
        osp.join(folder, name) for name in names
        if name.lower().endswith('.tar') and name[0] != '.'
    ]
    if not shards:
        raise FileNotFoundError(
            f'{folder} has no .tar file; the first of its {len(names)} '
            f'entries are {names[:5]}. Unpack compressed shards (.tar.gz) to '
            '.tar; tools/make_shards.py writes shards')
    return shards


class _OpenFile:
    """A file that is closed when nothing reads it any more."""

    def __init__(self, path: str) -> None:
        self.handle = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, 'handle'):
            os.close(self.handle)


# The cache is small because a process may often open only about 1000 files.
# Forked processes can share the open files: pread does not move the position.
_open_file = lru_cache(maxsize=64)(_OpenFile)


def _pread(path: str, size: int, begin: int) -> bytes:
    file = _open_file(path)
    data = os.pread(file.handle, size, begin)
    if len(data) < size:
        raise ShardError(f'{path} ends at byte {begin + len(data)}, but '
                         f'{begin + size} bytes were expected: it was '
                         'truncated after its index was read. Copy it again')
    return data


def _name(headers: bytes, size: int) -> str | None:
    """Return the file name in the headers, or None if they do not fit.

    Args:
        headers: Bytes of the header blocks before the file's data.
        size: Size that they must give for the file, in bytes.
    """
    try:
        if len(headers) == BLOCK:
            member = tarfile.TarInfo.frombuf(headers, 'utf-8',
                                             'surrogateescape')
        else:  # a long name has a header of its own
            member = tarfile.open(fileobj=BytesIO(headers)).next()
    except tarfile.TarError:
        return None
    return member.name if member is not None and member.size == size else None
