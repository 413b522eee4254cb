"""Measure how fast images come from single files, a zip archive and shards.

Each source holds the same JPEGs in class folders. Two rates are measured for
each source and each order of the samples:

- reading: reads files as bytes, one after the other, from the disk (cold: the
  system is told to drop the files from memory, `posix_fadvise`) and from
  memory (warm);
- loading: makes batches of ten crops of each image, by a DataLoader.

`disk_mb` is what the kernel read from the disk (/proc/self/io). If it is less
than the size of the images, a cold round was not cold. Sources and orders take
turns, so that other work on the machine affects all of them alike.

    python tools/benchmarks/loader.py --pictures 4000 --folder /some/disk
"""
import argparse
import os
import statistics
import tempfile
import time
import zipfile
from pathlib import Path

import cv2
from mmengine.config import Config
from mmengine.fileio import get
from mmengine.runner import Runner
from multi_crop import CONFIG, draw_photos
from side_by_side import parse, parser, report

from mmdino.datasets import Images, SeededDataset, SeededSampler, Shards
from mmdino.datasets.shard_writer import write_shards
from mmdino.utils.tool import run_tool

CLASSES = 10
ORDERS = dict(
    folder=['in order', 'shuffled'],
    zip=['in order', 'shuffled'],
    shards=['in order', 'shuffled', 'by shards'])


def write_sources(folder: Path, pictures: int, shard_bytes: int) -> dict:
    """Write the JPEGs to all kinds of sources; return the data sets by kind.
    """
    (folder / 'drawn').mkdir()
    draw_photos(folder / 'drawn', 32)
    photos = [p.read_bytes() for p in sorted((folder / 'drawn').iterdir())]
    for i in range(pictures):
        path = folder / f'folder/{i % CLASSES}/{i:06}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photos[i % len(photos)])
    with zipfile.ZipFile(folder / 'photos.zip', 'w') as archive:
        for path in sorted((folder / 'folder').rglob('*.jpg')):
            archive.write(path, path.relative_to(folder / 'folder'))
    images = Images(str(folder / 'folder'))
    write_shards(images, str(folder / 'shards'), shard_bytes)
    pipeline = Config.fromfile(CONFIG).train_dataloader.dataset.pipeline
    return dict(
        folder=Images(str(folder / 'folder'), pipeline=pipeline),
        zip=Images(str(folder / 'photos.zip'), pipeline=pipeline),
        shards=Shards(str(folder / 'shards'), pipeline=pipeline))


def indices(dataset: Images, order: str, window: int) -> list[int]:
    return [key.index for key in sampler_of(dataset, order, window)]


def sampler_of(dataset: Images, order: str, window: int) -> SeededSampler:
    cfg = dict(type='DefaultSampler', shuffle=order == 'shuffled')
    if order == 'by shards':
        cfg = dict(type='ShardSampler', window=window)
    return SeededSampler(dataset, cfg, seed=0)


def read(dataset: Images, order: list[int]) -> int:
    """Read all files as LoadImage does; return the number of bytes."""
    return sum(len(get(dataset.get_data_info(i)['img_path'])) for i in order)


def forget(folder: Path) -> None:
    """Drop all files from the system's memory; they are written first."""
    os.sync()
    for path in folder.rglob('*'):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def fetched() -> int:
    """Return the number of bytes that this process has read from disks."""
    lines = Path('/proc/self/io').read_text().splitlines()
    return int(dict(line.split(': ') for line in lines)['read_bytes'])


def time_reading(dataset: Images, order: list[int]) -> dict:
    """Time one pass over all files."""
    before, start = fetched(), time.perf_counter()
    size = read(dataset, order)
    seconds = time.perf_counter() - start
    return dict(
        images_per_s=len(order) / seconds,
        mb_per_s=size / 1e6 / seconds,
        disk_mb=(fetched() - before) / 1e6)


def time_loading(dataset: Images, order: str,
                 args: argparse.Namespace) -> dict:
    """Time the first ``args.crops`` images of an epoch, files to batches."""
    loader = Runner.build_dataloader(
        dict(
            batch_size=16,
            num_workers=args.workers,
            dataset=Wrapped(dataset),
            sampler=sampler_of(dataset, order, args.window),
            collate_fn=dict(type='default_collate')),
        seed=0)
    start, count = time.perf_counter(), 0
    for batch in loader:
        count += len(batch['inputs'][0])
        if count >= args.crops:
            break
    return dict(images_per_s=count / (time.perf_counter() - start))


def one_round(sources: dict, folder: Path, args: argparse.Namespace) -> dict:
    """Measure each source and order once, in turn."""
    found = {}
    for name, dataset in sources.items():
        for order in ORDERS[name]:
            places = indices(dataset, order, args.window)
            key = f'{name}, {order}'
            forget(folder)
            found[f'loading, {key}, cold'] = time_loading(dataset, order, args)
            forget(folder)
            found[f'reading, {key}, cold'] = time_reading(dataset, places)
            found[f'reading, {key}, warm'] = time_reading(dataset, places)
            found[f'loading, {key}, warm'] = time_loading(dataset, order, args)
    return found


class Wrapped(SeededDataset):
    """A seeded data set of one that is built already."""

    def __init__(self, dataset: Images) -> None:
        self.dataset = dataset


def main(args: argparse.Namespace) -> None:
    cv2.setNumThreads(0)
    if args.quick:
        args.pictures, args.crops, args.shard_mb = 64, 16, 1.
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        folder = Path(folder)
        sources = write_sources(folder, args.pictures,
                                int(args.shard_mb * 1e6))
        runs = []
        for done in range(1, args.rounds + 1):
            runs.append(one_round(sources, folder, args))
            print(f'round {done}/{args.rounds} {runs[-1]}', flush=True)
        count = len(sources['shards'].shards)
    report(
        'loader',
        args,
        unit='images/s',
        pictures=args.pictures,
        shards=count,
        window=args.window,
        workers=args.workers,
        rounds=args.rounds,
        **{
            name: {
                key: statistics.median(run[name][key] for run in runs)
                for key in figures
            }
            for name, figures in runs[0].items()
        })


if __name__ == '__main__':
    options = parser(__doc__, rounds=3, clocks=['wall'])
    options.add_argument(
        '--pictures', type=int, default=4000, help='number of drawn JPEGs')
    options.add_argument(
        '--shard-mb', type=float, default=20., help='size of a shard in MB')
    options.add_argument(
        '--window',
        type=int,
        default=4,
        help='number of shards that are mixed')
    options.add_argument(
        '--workers', type=int, default=2, help='workers of the loader')
    options.add_argument(
        '--crops', type=int, default=500, help='number of images to load')
    options.add_argument(
        '--folder', help='folder on the disk to measure (default: /tmp)')
    run_tool(lambda: main(parse(options)))
