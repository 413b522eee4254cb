"""A run on shards that is killed anywhere ends as if it had not been."""
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from mmdino.datasets.tar_shards import TarShards
from tests.datasets.tar_files import write_shards
from tests.launching import end, start, write
from tests.resuming import StopAfter, assert_same, random_cfg, train

KILLS, ITERATIONS = 5, 36


def random_shards_cfg(folder, work_dir, workers=0):
    """Three epochs of 48 pictures in 6 shards, 4 an iteration in all."""
    cfg = random_cfg(work_dir, workers=workers)
    dataset = cfg.train_dataloader.dataset
    dataset.pop('num_images')
    dataset.pop('img_size')
    dataset.update(type='Shards', data_root=str(folder / 'shards'))
    dataset.pipeline.before = [dict(type='LoadImage')]
    cfg.train_dataloader.sampler.update(type='ShardSampler', window=2)
    return cfg


def write_config(folder, work_dir, workers, processes):
    """A config file with a checkpoint after each iteration."""
    cfg = random_shards_cfg(folder, work_dir, workers)
    cfg.train_dataloader.update(batch_size=4 // processes)
    cfg.default_hooks.checkpoint.update(
        by_epoch=False, interval=1, max_keep_ckpts=2)
    if processes > 1:  # each has statistics of its own, rank 0 saves
        cfg.model.head.use_bn = False
    cfg.launcher = 'none' if processes == 1 else 'pytorch'
    work_dir.mkdir(parents=True)
    return write(cfg, work_dir)


def start_training(config, processes):
    options = '--work-dir', str(config.parent), '--resume'
    if processes == 1:
        return start(sys.executable, 'tools/train.py', str(config), *options)
    return start('bash', 'tools/dist_train.sh', str(config), str(processes),
                 *options)


def last_checkpoint(work_dir):
    names = [int(p.stem[5:]) for p in work_dir.glob('iter_*.pth')]
    return max(names, default=0)


def tree(pid):
    """A process and all below it; torchrun's have groups of their own."""
    with suppress(OSError):
        children = Path(f'/proc/{pid}/task/{pid}/children').read_text()
        return [pid, *(p for c in children.split() for p in tree(int(c)))]
    return [pid]


def train_and_kill(config, processes, rng):
    """Kill the whole job at once at a random moment of its training."""
    work_dir = Path(config).parent
    first = last_checkpoint(work_dir)
    process, begin = start_training(config, processes), time.monotonic()
    more = rng.randint(1, 5)
    while last_checkpoint(work_dir) < min(first + more, ITERATIONS):
        assert process.poll() is None and time.monotonic() < begin + 200, (
            end(process)[-3000:])
        time.sleep(.002)
    time.sleep(rng.uniform(0, .05))
    for pid in tree(process.pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.communicate()
    return last_checkpoint(work_dir)


def train_to_the_end(config, processes):
    process = start_training(config, processes)
    out = end(process)
    assert process.returncode == 0, out[-3000:]
    state = torch.load(
        Path(config).parent / f'iter_{ITERATIONS}.pth', weights_only=False)
    return {k: v for k, v in state.items() if k not in ('meta', 'message_hub')}


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize('workers', [0, 2])
def test_killed_at_five_random_moments(workers, processes, tmp_path):
    write_shards(tmp_path / 'shards', shards=6, samples=8)
    whole = write_config(tmp_path, tmp_path / 'whole', 0, processes)
    expected = train_to_the_end(whole, processes)
    config = write_config(tmp_path, tmp_path / 'killed', workers, processes)
    rng = random.Random(workers + 10 * processes)
    stops = [train_and_kill(config, processes, rng) for _ in range(KILLS)]
    assert stops[-1] < ITERATIONS, f'it ended before the last kill: {stops}'
    assert_same(train_to_the_end(config, processes), expected)


def test_stopped_in_mid_epoch(tmp_path, monkeypatch):
    """The samples that the epoch has had are not read again."""
    write_shards(tmp_path / 'shards', shards=6, samples=8)
    train(random_shards_cfg(tmp_path, tmp_path / 'whole'))
    cfg = random_shards_cfg(tmp_path, tmp_path / 'stopped')
    with pytest.raises(SystemExit):
        train(cfg, StopAfter(29))
    read, path = [], TarShards.path
    monkeypatch.setattr(TarShards, 'path',
                        lambda self, i: read.append(i) or path(self, i))
    train(cfg)
    assert len(set(read)) == 48 - 5 * 4
    ends = [
        torch.load(tmp_path / name / 'epoch_3.pth', weights_only=False)
        for name in ('stopped', 'whole')
    ]
    for part in ('state_dict', 'optimizer'):
        assert_same(ends[0][part], ends[1][part])
