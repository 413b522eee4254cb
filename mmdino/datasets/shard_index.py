"""An index of the images in tar files, as a memory-mapped array.

It has one row of 16 bytes for each image, 1.6 GB for 10^8 images. All
processes of a machine map the same file and share its memory, and only the
parts that are read are loaded.
"""
import json
import os
import os.path as osp
import re
import socket
import tarfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import sha256
from logging import WARNING
from typing import BinaryIO

import numpy as np
from mmengine.dist import all_gather_object, get_rank
from mmengine.logging import print_log

from mmdino.datasets.listing import is_image
from mmdino.utils.progress import track
from mmdino.utils.resources import cache_folder
from mmdino.weights.io import replaced

BLOCK = tarfile.BLOCKSIZE  # bytes, the unit of all positions in a tar file
NO_LABEL = -1
# Block at which the data begin, number of header blocks before it, size of the
# data in bytes, and label.
ROW = np.dtype([('block', '<u4'), ('headers', '<u4'), ('size', '<u4'),
                ('label', '<i4')])
LABEL_KEYS = ('label', 'cls')  # in a .json file
_COMPRESSED = (b'\x1f\x8b', b'BZh', b'\xfd7zX', b'\x28\xb5\x2f\xfd')
_META_KEYS = ('shards', 'starts', 'crc', 'without_label', 'first_without',
              'max_label')
_VERSION = 1  # of the format of the index


class ShardError(ValueError):
    """An error about a shard that cannot be used.

    It names the shard, the cause and a remedy.
    """


class ShardIndex:
    """A memory-mapped table with one row for each image of all shards.

    Args:
        path: The ``.bin`` file of rows. A ``.json`` file beside it describes
            the shards.

    Attributes:
        rows (np.ndarray): (N,) of type :data:`ROW`, in the order of the
            shards.
        starts (np.ndarray): (S + 1,) int64, the first row of each of the S
            shards, then N.
        without_label (int): Number of rows whose label is :data:`NO_LABEL`.
        first_without (str): Name of the first of them and the reason, or ''.
        max_label (int): The largest label.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        meta = _read_meta(path)
        self.starts = np.array(meta['starts'], np.int64)
        self.without_label = meta['without_label']
        self.first_without = meta['first_without']
        self.max_label = meta['max_label']
        self.rows = np.memmap(path, ROW, 'r', shape=(meta['starts'][-1], ))

    def __reduce__(self) -> tuple:
        """Map the file again in other processes instead of copying it."""
        return ShardIndex, (self.path, )


def open_index(shards: Sequence[str],
               extensions: Sequence[str] | None = None,
               cache_dir: str | None = None) -> ShardIndex:
    """Open the index of shards; rank 0 builds it where none fits.

    All processes of a job must call this function. The index lies in
    ``cache_dir``. By default it lies beside the first shard or, if that folder
    is not writable, in ``~/.cache/mmdino``. On machines of the job that do
    not see this folder, one process builds an index for the machine. An index
    that is damaged, or whose shards have changed (name, size or modification
    time), is built anew with a warning.

    The other processes wait for the builder in a collective call, which has a
    time limit (``env_cfg.dist_cfg.timeout``). Indexing an image and its label
    took 50 µs from memory and 130 µs from a disk, which is 4 hours for 10^8
    images. For many millions, build the index before the job, by
    ``Shards(data_root)`` in one process.

    Args:
        shards: Paths of the tar files, in their order.
        extensions: As in :func:`scan_shard`.
        cache_dir: Folder of the index.

    Raises:
        ShardError: If a shard cannot be used; on all ranks.
        FileNotFoundError: If a shard does not exist; on all ranks.
        OSError: If none of the folders is writable; on all ranks.
    """

    def find_or_build() -> tuple[str, int]:
        return _find_or_build(shards, extensions,
                              _places(shards, extensions, cache_dir))

    rank, host = get_rank(), socket.gethostname()
    found = _run_on(rank == 0, find_or_build)[0]
    lacking = all_gather_object(None if _has(*found) else host)
    if any(lacking):
        builds = lacking[rank] is not None and lacking.index(host) == rank
        built = _run_on(builds, find_or_build)
        if lacking[rank] is not None:
            found = built[lacking.index(host)]
    return ShardIndex(found[0])


def scan_shard(
    path: str,
    extensions: Sequence[str] | None = None
) -> tuple[np.ndarray, str, Counter]:
    """List the images of one tar file in WebDataset layout.

    The files of one sample have the same key, the name up to the first dot.
    The label is the integer in the sample's ``.cls`` file, or in its ``.json``
    file under 'label' or 'cls'. Files whose names begin with a dot are left
    out.

    Args:
        path: An uncompressed tar file.
        extensions: Extensions of the images, which are all that follows the
            first dot of a name, such as ('jpg', 'left.png'); by default all
            that end in an extension of images.

    Returns:
        The rows (N,) of type :data:`ROW`; the name of the first image without
        a label and the reason, or ''; the number of left-out files by
        extension.

    Raises:
        ShardError: If the file is truncated, damaged, compressed or not a tar
            file, has no image, or has two images with one key.
    """
    pictures, labels, others = {}, {}, Counter()
    try:
        with tarfile.open(path, 'r:') as tar:
            for member in tar:
                key, extension = _split(member.name)
                if member.isdir() or osp.basename(key) == '':
                    continue
                if _is_picture(extension, extensions):
                    _add_picture(pictures, key, member, path)
                elif extension in ('cls', 'json') and member.isreg():
                    data = tar.extractfile(member).read()
                    _add_label(labels, key, extension, data)
                else:
                    others['.' + extension] += 1
            _check_end(tar.fileobj, tar.offset, path)
    except tarfile.ReadError as error:
        raise ShardError(_explain(path, error)) from error
    if not pictures:
        raise ShardError(
            f'{path} holds no image; files by extension: {dict(others)}. '
            f'Images end in {extensions or "a usual image extension"}: leave '
            'the shard out, or give other extensions=(...)')
    rows, first_without = [], ''
    for key, member in pictures.items():
        label, why = labels.get(key, (NO_LABEL, 'no .cls and no .json file'))
        if label == NO_LABEL and not first_without:
            first_without = f'{member.name} in {path}: {why}'
        headers = (member.offset_data - member.offset) // BLOCK
        rows.append((member.offset_data // BLOCK, headers, member.size, label))
    return np.array(rows, ROW), first_without, others


def _split(name: str) -> tuple[str, str]:
    """Split a name into key and extension (in lower case, no leading dot)."""
    folder, base = osp.split(name)
    stem, _, extension = base.partition('.')
    return osp.join(folder, stem), extension.lower()


def _is_picture(extension: str, extensions: Sequence[str] | None) -> bool:
    if extensions is None:
        return _is_image_extension(extension)
    return extension in [e.lower().lstrip('.') for e in extensions]


@lru_cache
def _is_image_extension(extension: str) -> bool:
    return is_image(f'x.{extension}')


def _add_picture(pictures: dict, key: str, member: tarfile.TarInfo,
                 path: str) -> None:
    if key in pictures:
        raise ShardError(
            f'{path} holds two images with the key {key!r}: '
            f'{pictures[key].name} and {member.name}. Choose one by its '
            f'extension (extensions=[{_split(member.name)[1]!r}]), or give '
            'the images names that differ before the first dot')
    if not member.isreg() or member.issparse():
        raise ShardError(
            f'{path}: {member.name} is a link or a sparse file, not an '
            'image. Write the shard with `tar --dereference '
            '--hard-dereference`')
    pictures[key] = member


def _add_label(labels: dict, key: str, extension: str, data: bytes) -> None:
    """Note a label, or why there is none; a .cls file overrides a .json."""
    if extension == 'json' and labels.get(key, (NO_LABEL, ))[0] != NO_LABEL:
        return
    try:
        if extension == 'cls':
            value = int(data)
        else:
            found = json.loads(data)
            value = next((found[k] for k in LABEL_KEYS if k in found), None)
        if type(value) is not int or not 0 <= value < 2**31:
            raise ValueError(f'{value!r:.40} is not an integer of at least 0')
        labels[key] = value, ''
    except (ValueError, TypeError) as error:
        labels.setdefault(key, (NO_LABEL, f'its .{extension} file: {error}'))


def _check_end(file: BinaryIO, offset: int, path: str) -> None:
    """Raise an error if a tar file is truncated or damaged.

    Python's tarfile treats a damaged header as the end of the file.
    """
    file.seek(offset)
    mark = file.read(BLOCK)
    if len(mark) < BLOCK:
        raise ShardError(
            f'{path} is truncated at byte {offset + len(mark)}: its end mark '
            'is missing. Copy or write it again')
    if any(mark):
        raise ShardError(f'{path} is damaged at byte {offset}, where a header '
                         'was expected. Copy or write it again')
    while rest := file.read(2**20):
        if any(rest):
            raise ShardError(
                f'{path} has data after its end mark at byte {offset}, as if '
                'tar files were joined by `cat`: use them as separate shards')


def _explain(path: str, error: Exception) -> str:
    with open(path, 'rb') as file:
        start = file.read(4)
    if not start:
        return f'{path} is empty. Copy or write it again'
    if start.startswith(_COMPRESSED):
        return (f'{path} is compressed, and only uncompressed shards can be '
                'read: unpack it to a .tar file')
    if 'unexpected end' in str(error) or 'truncated' in str(error):
        return f'{path} is truncated ({error}). Copy or write it again'
    return (f'{path} is damaged or not a tar file ({error}). Copy or write it '
            'again')


def _places(shards: Sequence[str], extensions: Sequence[str] | None,
            cache_dir: str | None) -> list[str]:
    """List the paths at which an index may lie, by a hash of the settings."""
    folder = osp.dirname(osp.abspath(shards[0]))
    names = [osp.relpath(shard, folder) for shard in shards]
    what = json.dumps([_VERSION, names, extensions and sorted(extensions)])
    if cache_dir is not None:
        folders = [osp.expanduser(cache_dir)]
        what += folder
    else:
        tail = sha256(folder.encode()).hexdigest()[:16]
        folders = [folder, cache_folder('shards', tail)]
    name = f'mmdino-index-{sha256(what.encode()).hexdigest()[:16]}.bin'
    return [osp.join(folder, name) for folder in folders]


def _find_or_build(shards: Sequence[str], extensions: Sequence[str] | None,
                   places: Sequence[str]) -> tuple[str, int]:
    """Return path and checksum of an index that fits the shards."""
    missing = [shard for shard in shards if not osp.isfile(shard)]
    if missing:
        raise FileNotFoundError(
            f'{len(missing)} of the {len(shards)} shards do not exist; the '
            f'first is {missing[0]}. Copy the missing ones, or change '
            'data_root; a folder stands for all shards in it')
    stamps = [_stamp(shard) for shard in shards]
    for path in places:
        if not osp.exists(_meta_path(path)):
            continue
        try:
            return path, _check(path, stamps)
        except (OSError, ValueError) as error:
            print_log(
                f'The index {path} is built again: {error}',
                logger='current',
                level=WARNING)
    return _build(shards, stamps, extensions, places)


def _stamp(shard: str) -> list:
    status = os.stat(shard)
    return [osp.basename(shard), status.st_size, status.st_mtime_ns]


def _check(path: str, stamps: list) -> int:
    """Return the checksum of an index.

    Raises:
        ValueError: If the index is damaged or belongs to other shards.
    """
    meta = _read_meta(path)
    for old, new in zip(meta['shards'], stamps, strict=True):
        if old != new:
            raise ValueError(
                f'{new[0]} has changed: name, size and modification time (ns) '
                f'were {old} and are {new}')
    if meta['starts'][-1] * ROW.itemsize != osp.getsize(path):
        raise ValueError('it is damaged: its size is wrong')
    crc = 0
    with open(path, 'rb') as file:
        while part := file.read(2**24):
            crc = zlib.crc32(part, crc)
    if crc != meta['crc']:
        raise ValueError('it is damaged: its checksum is wrong')
    return crc


def _build(shards: Sequence[str], stamps: list,
           extensions: Sequence[str] | None,
           places: Sequence[str]) -> tuple[str, int]:
    file, path = _open_first_writable(places)
    starts, crc, others, max_label = [0], 0, Counter(), NO_LABEL
    without_label, first_without = 0, ''
    try:
        with file:
            for shard in track(shards, 'Index of the shards'):
                rows, first, left_out = scan_shard(shard, extensions)
                rows.tofile(file)
                crc = zlib.crc32(rows.tobytes(), crc)
                starts.append(starts[-1] + len(rows))
                without_label += int((rows['label'] == NO_LABEL).sum())
                first_without = first_without or first
                max_label = max(max_label, int(rows['label'].max()))
                others.update(left_out)
        os.replace(file.name, path)
    except BaseException:
        os.unlink(file.name)
        raise
    _write_meta(
        path,
        dict(
            shards=stamps,
            starts=starts,
            crc=crc,
            without_label=without_label,
            first_without=first_without,
            max_label=max_label))
    left_out = (f'; files that are left out, by extension: {dict(others)}'
                if others else '')
    print_log(
        f'{path}: {starts[-1]} images in {len(shards)} shards, '
        f'{starts[-1] - without_label} with a label{left_out}',
        logger='current')
    return path, crc


def _open_first_writable(places: Sequence[str]) -> tuple[BinaryIO, str]:
    errors = []
    for path in places:
        try:
            os.makedirs(osp.dirname(path), exist_ok=True)
            return open(f'{path}.part{os.getpid()}', 'wb'), path
        except OSError as error:
            errors.append(str(error))
    raise OSError('The index of the shards cannot be written: '
                  f'{"; ".join(errors)}. Name a writable folder by '
                  'cache_dir=...')


def _meta_path(path: str) -> str:
    return re.sub(r'\.bin$', '.json', path)


def _read_meta(path: str) -> dict:
    """Read the description of the rows in ``path``."""
    path = _meta_path(path)
    try:
        with open(path, encoding='utf-8') as file:
            meta = json.load(file)
        return {key: meta[key] for key in _META_KEYS}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is damaged: {error!r}') from error


def _write_meta(path: str, meta: dict) -> None:
    """Write the description of the rows, completely or not at all."""
    with replaced(_meta_path(path)) as part:
        with open(part, 'w', encoding='utf-8') as file:
            json.dump(meta, file)


def _has(path: str, crc: int) -> bool:
    """Return whether this process sees the index that rank 0 has checked."""
    try:
        meta = _read_meta(path)
        return meta['crc'] == crc and (osp.getsize(path)
                                       == meta['starts'][-1] * ROW.itemsize)
    except (OSError, ValueError):
        return False


def _run_on(here: bool, function: Callable[[], tuple]) -> list:
    """Call ``function`` on some ranks, and gather the results on all.

    Args:
        here: Whether to call it on this rank.
        function: What to call.

    Returns:
        The result of each rank, None for ranks that did not call it.

    Raises:
        Exception: The first error of any rank, on all ranks, so that none
            waits for ever.
    """
    result = error = None
    if here:
        try:
            result = function()
        except Exception as caught:
            error = caught
    outcomes = all_gather_object((result, error))
    for _, error in outcomes:
        if error is not None:
            raise error
    return [result for result, _ in outcomes]
