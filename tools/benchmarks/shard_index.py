"""What the index of very many pictures costs, and a sampler and a worker.

The index is synthetic: rows of shards that do not exist. Each figure is
measured in a process of its own: seconds, and the memory by which it grows,
its own (private) and that of the mapped file, which all processes share.

    python tools/benchmarks/shard_index.py --rows 100000000 --folder /some/disk
"""
import argparse
import json
import multiprocessing
import os
import tempfile
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import DefaultSampler
from side_by_side import parse, parser, report

from mmdino.datasets import SeededSampler, shard_index
from mmdino.datasets.seeded import SampleKey
from mmdino.datasets.shard_index import ROW, ShardIndex
from mmdino.utils.tool import run_tool

PER_SHARD = 10_000
FRESH = multiprocessing.get_context('fork')


class Rows:
    """A data set that looks up rows as Shards does, without tar files."""

    def __init__(self, path: str) -> None:
        self.index = ShardIndex(path)
        self.shard_starts = self.index.starts

    def __len__(self) -> int:
        return len(self.index.rows)

    def __getitem__(self, key: SampleKey) -> int:
        row = self.index.rows[key.index]
        shard = np.searchsorted(self.shard_starts, key.index, side='right')
        return int(row['size']) + int(shard)


def write_index(path: str, count: int) -> None:
    """Write an index of random rows, one shard at a time."""
    rng = np.random.default_rng(0)
    starts, crc, stamps = [0], 0, []
    with open(path, 'wb') as file:
        while starts[-1] < count:
            rows = np.zeros(min(PER_SHARD, count - starts[-1]), ROW)
            rows['size'] = rng.integers(50_000, 150_000, len(rows))
            rows['block'] = np.cumsum(rows['size'] // 512 + 4)
            rows['headers'] = 1
            rows['label'] = rng.integers(0, 1000, len(rows))
            file.write(rows.tobytes())
            crc = zlib.crc32(rows.tobytes(), crc)
            starts.append(starts[-1] + len(rows))
            stamps.append([f'shards-{len(stamps):06}.tar', 10**9, 10**18])
    meta = dict(
        shards=stamps,
        starts=starts,
        crc=crc,
        without_label=0,
        first_without='',
        max_label=999)
    shard_index._write_meta(path, meta)


def check(path: str) -> None:
    """Check the index as rank 0 does at the start, except for file times."""
    stamps = shard_index._read_meta(path)['shards']
    shard_index._check(path, stamps)


def first_key(path: str, kind: str, part: float) -> Any:
    """Get the first sample of an epoch that is resumed at a fraction of it."""
    sampler = _sampler(Rows(path), kind)
    sampler.start = int(part * len(sampler))
    keys = iter(sampler)
    next(keys)
    return keys


def first_of_list(path: str) -> Any:
    """Do the same with MMEngine's own sampler, which makes a list."""
    sampler = DefaultSampler(Rows(path), True, 0)
    indices = islice(sampler, len(sampler) // 2, None)
    next(indices)
    return indices


def dicts(count: int) -> Any:
    """Return the list of dicts that Images makes of names and labels."""
    return [
        dict(img_path=f'/data/train/n01440764/{i:09}.jpg', gt_label=i % 1000)
        for i in range(count)
    ]


def look_up(path: str, reads: int) -> Any:
    """Look up random rows, as a data worker does."""
    rows = Rows(path)
    for index in np.random.default_rng(0).integers(0, len(rows), reads):
        rows[SampleKey(int(index), 0, 0)]
    return rows


def _sampler(rows: Rows, kind: str) -> SeededSampler:
    return SeededSampler(rows, dict(type=kind, shuffle=True), seed=0)


def measure(call: Callable[..., Any], *args: Any) -> dict:
    """Measure seconds and memory growth in MB in a process of its own."""
    # The pool lets the process end by itself, without a signal.
    with ProcessPoolExecutor(1, mp_context=FRESH) as pool:
        return pool.submit(_measured, call, *args).result()


def _measured(call: Callable[..., Any], *args: Any) -> dict:
    before, peak = _memory(), _peak()
    start = time.perf_counter()
    kept = call(*args)
    seconds = time.perf_counter() - start
    after = _memory()
    del kept
    return dict(
        seconds=seconds,
        private_mb=after['private'] - before['private'],
        shared_mb=after['shared'] - before['shared'],
        peak_mb=max(0.,
                    _peak() - peak))


def _memory() -> dict[str, float]:
    """Return the MB of this process alone, and of files that it maps."""
    found = {}
    for line in Path('/proc/self/smaps_rollup').read_text().splitlines()[1:]:
        key, size = line.split(':')
        found[key] = int(size.split()[0]) / 1024 * 1.048576
    return dict(
        private=found['Anonymous'], shared=found['Rss'] - found['Anonymous'])


def _peak() -> float:
    """Return the largest resident size so far in MB."""
    lines = Path('/proc/self/status').read_text().splitlines()
    size = next(v.split()[1] for v in lines if v.startswith('VmHWM'))
    return int(size) / 1024 * 1.048576


def main(args: argparse.Namespace) -> None:
    count = 100_000 if args.quick else args.rows
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = f'{folder}/index.bin'
        start = time.perf_counter()
        write_index(path, count)
        figures = dict(written_s=time.perf_counter() - start)
        calls = {
            'rank 0 checks': (check, path),
            'open': (ShardIndex, path),
            'ShardSampler': (first_key, path, 'ShardSampler', 0.),
            'ShardSampler, resume': (first_key, path, 'ShardSampler', .5),
            'DefaultSampler': (first_key, path, 'DefaultSampler', 0.),
            'DefaultSampler, resume': (first_key, path, 'DefaultSampler', .5),
            'a worker, 10,000 rows': (look_up, path, 10_000),
            'a worker, 1,000,000 rows': (look_up, path, min(10**6, count)),
        }
        if args.lists:
            calls["MMEngine's DefaultSampler, resume"] = first_of_list, path
            calls['dicts of 1,000,000'] = dicts, min(10**6, count)
        for name, call in calls.items():
            figures[name] = measure(*call)
            print(name, json.dumps(figures[name]), flush=True)
        size = os.path.getsize(path) + os.path.getsize(
            shard_index._meta_path(path))
    report('shard_index', args, unit='s', rows=count, bytes=size, **figures)


if __name__ == '__main__':
    options = parser(__doc__, clocks=['wall'])
    options.add_argument(
        '--rows', type=int, default=10**8, help='number of images')
    options.add_argument(
        '--folder', help='folder of the index (default: /tmp)')
    options.add_argument(
        '--lists',
        action='store_true',
        help="also measure MMEngine's own sampler and a list of dicts; needs "
        '6 GB for 10^8 rows')
    run_tool(lambda: main(parse(options)))
