"""Writing of tar files in WebDataset layout."""
import io
import json
import os
import os.path as osp
import tarfile
from collections.abc import Iterator
from hashlib import sha256

import numpy as np
from mmengine import fileio

from mmdino.datasets.images import Images
from mmdino.datasets.tar_shards import CLASSES_FILE
from mmdino.utils.progress import track
from mmdino.weights.io import replaced

RECORD_FILE = 'shards.json'


def write_shards(images: Images,
                 folder: str,
                 shard_bytes: int = 10**9,
                 seed: int | None = 0,
                 prefix: str = 'shards') -> list[str]:
    """Copy image files unchanged into ``PREFIX-000000.tar`` and so on.

    A sample is the file ``NUMBER-STEM.EXTENSION``, where NUMBER is the index
    in ``images`` and STEM the name of the image file, and ``NUMBER-STEM.cls``
    with the label, if there is one. Shards appear only when they are complete.
    ``shards.json`` lists them: after an interruption, a second call continues
    there. Class names go to ``classes.txt``.

    Args:
        images: The images to write.
        folder: Folder of the shards; created if it is missing.
        shard_bytes: Size in bytes at which a shard ends; it may be exceeded
            by a part of the last sample.
        seed: Seed of the order of the samples, which are shuffled because a
            training mixes only a few shards at a time; None keeps the order
            of ``images``.
        prefix: Beginning of the file names.

    Returns:
        The paths of all shards.

    Raises:
        ValueError: If ``shard_bytes`` is not positive, or ``folder`` holds
            shards of other images or other settings.
    """
    if shard_bytes < 1:
        raise ValueError(f'shard_bytes must be 1 or more, got {shard_bytes}')
    os.makedirs(folder, exist_ok=True)
    order = np.arange(len(images))
    if seed is not None:
        np.random.default_rng(seed).shuffle(order)
    settings = dict(
        pictures=_digest(images),
        shard_bytes=shard_bytes,
        seed=seed,
        prefix=prefix)
    record = _read_record(folder, settings)
    if images.CLASSES:
        _write(
            osp.join(folder, CLASSES_FILE),
            ''.join(f'{name}\n' for name in images.CLASSES))
    done = sum(count for _, count in record['shards'])
    numbers = iter(track(order[done:].tolist(), f'Shards in {folder}'))
    while done < len(order):
        name = f'{prefix}-{len(record["shards"]):06}.tar'
        count = _write_shard(images, osp.join(folder, name), numbers,
                             shard_bytes)
        done += count
        record['shards'].append((name, count))
        _write(osp.join(folder, RECORD_FILE), json.dumps(record))
    return [osp.join(folder, name) for name, _ in record['shards']]


def _digest(images: Images) -> str:
    """Hash the names and labels, in their order."""
    digest = sha256()
    for i in range(len(images)):
        item = images.get_data_info(i)
        digest.update(f'{item["img_path"]}\0{item.get("gt_label")}\n'.encode(
            'utf-8', 'surrogateescape'))
    return digest.hexdigest()


def _read_record(folder: str, settings: dict) -> dict:
    path = osp.join(folder, RECORD_FILE)
    tars = sorted(n for n in os.listdir(folder) if n.endswith('.tar'))
    if not osp.exists(path):
        record = dict(settings, shards=[])
    else:
        with open(path, encoding='utf-8') as file:
            record = json.load(file)
    for key, value in settings.items():
        if record.get(key) != value:
            raise ValueError(
                f'{path} is of other shards: {key} was {record.get(key)!r} '
                f'and is {value!r}. Name an empty folder, or remove the '
                'shards')
    names = [name for name, _ in record['shards']]
    # After an interruption, the last shard may be there but not listed yet: it
    # is written again.
    unknown = set(tars) - {*names, f'{settings["prefix"]}-{len(names):06}.tar'}
    if unknown or set(names) - set(tars):
        raise ValueError(
            f'{folder} has the shards {tars}, but its {RECORD_FILE} lists '
            f'{names}. Name an empty folder, or remove the shards')
    return record


def _write_shard(images: Images, path: str, numbers: Iterator[int],
                 shard_bytes: int) -> int:
    """Write samples until the shard is full; return their number."""
    part, count = f'{path}.part', 0
    with tarfile.open(part, 'w') as tar:
        for number in numbers:
            _add_sample(tar, images.get_data_info(number), number)
            count += 1
            if tar.offset >= shard_bytes:
                break
    os.replace(part, path)
    return count


def _add_sample(tar: tarfile.TarFile, item: dict, number: int) -> None:
    stem, extension = osp.splitext(osp.basename(item['img_path']))
    key = f'{number:09}-{stem.replace(".", "_")}'
    _add(tar, key + extension, fileio.get(item['img_path']))
    if 'gt_label' in item:
        _add(tar, f'{key}.cls', b'%d' % item['gt_label'])


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _write(path: str, text: str) -> None:
    with replaced(path) as part, open(part, 'w', encoding='utf-8') as file:
        file.write(text)
