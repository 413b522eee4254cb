"""A run that is stopped anywhere ends as if it had not been."""
import copy
import multiprocessing
import os
import random
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from mmdino.engine.longrun import checkpoints
from mmdino.engine.longrun.checkpoints import (find_last_good, is_intact,
                                               point_to)
from mmdino.weights.keys import CheckpointError
from tests.resuming import (StopAfter, assert_same, end_of, random_cfg, train,
                            train_interruptibly)
from tests.tiny import let_cpus_scale


@pytest.fixture(scope='module')
def uninterrupted(tmp_path_factory):
    """Ends of runs, by the settings that change them."""
    ends = {}

    def end(**settings):
        key = tuple(settings.items())
        if key not in ends:
            folder = tmp_path_factory.mktemp('whole')
            train(random_cfg(folder, **settings))
            ends[key] = end_of(folder)
        return ends[key]

    return end


@pytest.fixture(autouse=True)
def interruptible():
    """Background jobs ignore SIGINT."""
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


def stop(cfg, after, *hooks):
    with pytest.raises(SystemExit) as caught:
        train(cfg, after, *hooks)
    assert caught.value.code == 128 + after.number


def stop_and_resume(cfg, *stops):
    for after in stops:
        stop(cfg, after)
    train(cfg)


@pytest.mark.parametrize('iteration', [
    1, 3, 5, 9, *(pytest.param(i, marks=pytest.mark.slow)
                  for i in (2, 4, 6, 7, 8))
])
def test_stop_after_any_iteration(iteration, uninterrupted, tmp_path):
    stop_and_resume(random_cfg(tmp_path), StopAfter(iteration))
    assert_same(end_of(tmp_path), uninterrupted())


@pytest.mark.parametrize('iteration', [3, 4])
def test_accumulated_gradients_are_not_lost(iteration, uninterrupted,
                                            tmp_path):
    """Epochs of 3 iterations end between the steps, one in 2 iterations."""
    stop_and_resume(random_cfg(tmp_path, accumulate=2), StopAfter(iteration))
    assert_same(end_of(tmp_path), uninterrupted(accumulate=2))


@pytest.mark.parametrize('accumulate,iteration', [(1, 3), (2, 4)])
def test_checkpoints_of_epochs_resume(accumulate, iteration, uninterrupted,
                                      tmp_path):
    """A checkpoint of epoch 1 goes on, whatever was drawn after it."""

    class Crash(Hook):

        def before_train_iter(self, runner, *args, **kwargs):
            if runner.iter == 5:
                raise RuntimeError('crash')

    cfg = random_cfg(tmp_path, accumulate=accumulate)
    with pytest.raises(RuntimeError, match='crash'):
        train(cfg, Crash())
    meta = torch.load(tmp_path / 'epoch_1.pth', weights_only=False)['meta']
    assert meta['iter'] == iteration
    train(cfg)
    assert_same(end_of(tmp_path), uninterrupted(accumulate=accumulate))


def test_random_numbers_come_back(tmp_path):
    drawn = {}

    class Draw(Hook):

        def before_train_iter(self, runner, *args, **kwargs):
            now = (float(torch.rand(())), np.random.rand(), random.random())
            assert drawn.setdefault(runner.iter, now) == now

    cfg = random_cfg(tmp_path)
    stop(cfg, StopAfter(4), Draw())
    train(cfg, Draw())
    assert len(set(drawn.values())) == 9


def test_skipped_images_are_not_loaded(tmp_path, monkeypatch):
    cfg = random_cfg(tmp_path)
    stop(cfg, StopAfter(8))
    from mmdino.datasets import ShapeScenes
    loaded, load = [], ShapeScenes.__getitem__
    monkeypatch.setattr(ShapeScenes, '__getitem__',
                        lambda self, i: loaded.append(i) or load(self, i))
    train(cfg)
    assert len(loaded) == 2  # the last, uneven batch of 10 images


def test_an_ignored_signal_stays_ignored(tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in background jobs
    train(random_cfg(tmp_path), StopAfter(2, signal.SIGINT))
    assert end_of(tmp_path)


def test_another_number_of_iterations_starts_the_epoch_anew(tmp_path):
    cfg = random_cfg(tmp_path)
    stop(cfg, StopAfter(4))
    cfg.train_dataloader.batch_size = 2
    train(cfg)
    log = max(tmp_path.glob('*/*.log'), key=os.path.getmtime).read_text()
    assert 'iteration 4 in epoch 1, which now has 5 iterations' in log


def test_a_damaged_checkpoint_is_passed_over(uninterrupted, tmp_path):
    cfg = random_cfg(tmp_path)
    stop(cfg, StopAfter(8))
    for name in ('interrupted.pth', 'epoch_2.pth'):
        os.truncate(tmp_path / name, (tmp_path / name).stat().st_size // 2)
        assert not is_intact(tmp_path / name)
    (tmp_path / 'nonfinite_iter1_rank0.pth').write_bytes(b'a dump')
    assert find_last_good(str(tmp_path)) == str(tmp_path / 'epoch_1.pth')
    named = copy.deepcopy(cfg)
    named.load_from = str(tmp_path / 'epoch_2.pth')
    with pytest.raises(CheckpointError, match='epoch_2.pth is damaged'):
        train(named)
    train(cfg)
    assert_same(end_of(tmp_path), uninterrupted())


def test_last_good(tmp_path):
    assert find_last_good(str(tmp_path)) is None
    torch.save(dict(x=torch.rand(1000)), tmp_path / 'epoch_1.pth')
    point_to(str(tmp_path), '/elsewhere/epoch_1.pth')
    assert find_last_good(str(tmp_path)) == str(tmp_path / 'epoch_1.pth')
    data = bytearray((tmp_path / 'epoch_1.pth').read_bytes())
    data[len(data) // 2] ^= 1  # one bit
    (tmp_path / 'epoch_1.pth').write_bytes(data)
    (tmp_path / 'last_checkpoint').write_text('')
    with pytest.raises(ValueError, match='All checkpoints.*are damaged'):
        find_last_good(str(tmp_path))


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    backend, path = checkpoints.AtomicBackend(), tmp_path / 'x'
    backend.put(b'old', path)

    def full(handle):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(
            OSError, match='No space left.*0.0 MB.*Earlier checkpoints'):
        backend.put(b'new', path)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['x']


def test_a_save_that_fails_loses_nothing(uninterrupted, tmp_path):
    """The system writes half of a checkpoint, then no more."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    class FillDisk(Hook):

        def before_train_epoch(self, runner):
            if runner.epoch == 1:
                half = (tmp_path / 'epoch_1.pth').stat().st_size // 2
                resource.setrlimit(resource.RLIMIT_FSIZE, (half, limits[1]))

    try:
        with pytest.raises(OSError, match='File too large.*MB.*are free'):
            train(random_cfg(tmp_path), FillDisk())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.glob('*.pth*')] == ['epoch_1.pth']
    train(random_cfg(tmp_path))
    assert_same(end_of(tmp_path), uninterrupted())


def test_the_loss_scale_comes_back(tmp_path, monkeypatch):
    """Also between two of its changes; a CPU has to be let in."""
    let_cpus_scale(monkeypatch)
    scaler = dict(device='cpu', init_scale=1024., growth_interval=3)
    ends = []
    for name, stops in (('whole', []), ('stopped', [StopAfter(5)])):
        cfg = random_cfg(tmp_path / name)
        cfg.optim_wrapper.update(
            type='PerParameterClipAmpOptimWrapper', loss_scale=scaler)
        stop_and_resume(cfg, *stops)
        ends.append(end_of(tmp_path / name))
    assert ends[0]['optimizer']['loss_scaler']['scale'] == 1024 * 2**3
    assert_same(ends[1], ends[0])


PROCESSES = multiprocessing.get_context('forkserver')
PROCESSES.set_forkserver_preload(['tests.resuming'])


def train_in_process(cfg, *hooks):
    process = PROCESSES.Process(target=train_interruptibly, args=(cfg, *hooks))
    process.start()
    return process


def test_stop_thrice_with_workers(uninterrupted, tmp_path):
    cfg = random_cfg(tmp_path, workers=2)
    for stop in (StopAfter(2, signal.SIGINT), StopAfter(3, signal.SIGUSR1),
                 StopAfter(7), None):
        process = train_in_process(cfg, *[stop] if stop else [])
        process.join()
        assert process.exitcode == (128 + stop.number if stop else 0)
    assert_same(end_of(tmp_path), uninterrupted())


def power_off_in(save, cfg):
    """Train; die in the midst of a save, counted from 1."""
    count, fsync = iter(range(1, 100)), os.fsync

    def die(handle):
        if next(count) == save:
            os.truncate(handle, os.fstat(handle).st_size // 2)
            os._exit(9)
        fsync(handle)

    os.fsync = die
    train(cfg)


@pytest.mark.parametrize('save', [5, pytest.param(7, marks=pytest.mark.slow)])
def test_power_off_in_a_save(save, uninterrupted, tmp_path):
    """A save syncs a checkpoint, its folder, the pointer, its folder."""
    process = PROCESSES.Process(
        target=power_off_in, args=(save, random_cfg(tmp_path)))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert is_intact(tmp_path / 'epoch_1.pth')
    train(random_cfg(tmp_path))
    assert_same(end_of(tmp_path), uninterrupted())


def is_killed(cfg, seconds):
    """Train so long; False if it came to its end before."""
    process = train_in_process(cfg)
    process.join(seconds)
    is_alive = process.is_alive()
    process.kill()
    process.join()
    return is_alive


@pytest.mark.parametrize('times',
                         [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_random_moments(times, uninterrupted, tmp_path):
    """Each run that comes to its end in between is compared."""
    cfg = random_cfg(tmp_path / 'whole')
    cfg.default_hooks.checkpoint.update(by_epoch=False, max_keep_ckpts=1)
    rng, killed, runs = random.Random(0), 0, 0
    while killed < times:
        runs += 1
        # Anew each time: other work on the machine comes and goes.
        cfg.work_dir = str(tmp_path / f'whole_{runs}')
        start = time.monotonic()
        train_in_process(cfg).join()
        duration = time.monotonic() - start
        cfg.work_dir = str(tmp_path / str(runs))
        while killed < times and is_killed(cfg,
                                           rng.uniform(.2, .9) * duration):
            killed += 1
        train_in_process(cfg).join()
        state, = Path(cfg.work_dir).glob('iter_9.pth')
        state.rename(state.with_name('epoch_3.pth'))
        assert_same(end_of(Path(cfg.work_dir)), uninterrupted())
