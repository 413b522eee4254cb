"""Data workers ignore signals, and end with their trainer."""
import enum
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from mmdino.engine.longrun import workers
from mmdino.engine.longrun.signals import PreemptionHook
from mmdino.engine.longrun.workers import (SIGNALS, SureProcess, close_workers,
                                           fork_again_if_stuck, known_signals,
                                           protect_workers)
from tests.launching import end, free_port, start

ROOT = Path(__file__).parents[3]


class Slow(Dataset):
    """Where it is loaded; from the fourth sample on for minutes."""

    def __len__(self):
        return 100

    def __getitem__(self, index):
        if index > 3:
            time.sleep(300)
        return os.getpid()


def note(worker_id):
    os.environ['NOTED'] = str(worker_id)


class Noted(Dataset):

    def __len__(self):
        return 8

    def __getitem__(self, index):
        time.sleep(.02)
        return os.getpid(), int(os.environ['NOTED'])


def is_alive(pid):
    try:
        return ') Z ' not in Path(f'/proc/{pid}/stat').read_text()
    except FileNotFoundError:
        return False


def assert_gone(pids, seconds=4.):
    end = time.monotonic() + seconds
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(.05)
    assert not any(map(is_alive, pids))


@pytest.mark.parametrize(
    'method', ['fork', pytest.param('spawn', marks=pytest.mark.slow)])
@pytest.mark.parametrize('persistent', [False, True])
def test_workers_ignore_signals(method, persistent):
    loader = DataLoader(
        Noted(),
        num_workers=2,
        batch_size=None,
        worker_init_fn=note,
        persistent_workers=persistent,
        multiprocessing_context=method)
    protect_workers(loader)
    protect_workers(loader)  # changes nothing
    seen = []
    for pid, worker in loader:
        for number in known_signals():
            os.kill(pid, number)
        seen.append((pid, worker))
    assert len(seen) == 8
    assert {worker for _, worker in seen} == {0, 1}
    assert persistent == any(is_alive(pid) for pid, _ in seen)
    close_workers()
    assert_gone({pid for pid, _ in seen}, seconds=1.)


def test_signals_from_the_first_moment_on():
    """Also before a worker has come to its first line."""
    loader = DataLoader(
        Noted(), num_workers=2, batch_size=None, worker_init_fn=note)
    protect_workers(loader)
    iterator = iter(loader)
    for worker in iterator._workers:
        os.kill(worker.pid, signal.SIGTERM)
    assert len([*iterator]) == 8


@pytest.fixture
def stuck(monkeypatch):
    """Call it with the number of forks that hang, from the first on."""
    bootstrap, counted, pids = SureProcess._bootstrap, os.fork, []

    def fork():
        pids.append(counted())
        return pids[-1]

    def hang(number):

        def bootstrap_or_hang(self, *args, **kwargs):
            if len(pids) <= number:  # its own 0 is the last of them
                time.sleep(300)
            return bootstrap(self, *args, **kwargs)

        monkeypatch.setattr(SureProcess, '_bootstrap', bootstrap_or_hang)
        return pids

    monkeypatch.setattr(SureProcess, 'patience', (1., 1.5, 2.))
    monkeypatch.setattr(os, 'fork', fork)
    return hang


def test_a_worker_that_hangs_in_its_fork_is_made_anew(stuck, monkeypatch):
    pids, said = stuck(2), []
    monkeypatch.setattr(workers, 'print_log', lambda *args: said.append(args))
    loader = DataLoader(
        Noted(), num_workers=2, batch_size=None, worker_init_fn=note)
    fork_again_if_stuck(loader)
    assert {worker for _, worker in loader} == {0, 1}
    assert len(pids) == 4  # two that hung, then the two that work
    assert_gone(pids)
    assert ['not started after 1 s' in text
            for text, *_ in said] == [True, False]
    assert 'not started after 1.5 s' in said[1][0]


def test_workers_that_all_hang_are_an_error(stuck):
    pids = stuck(99)
    loader = DataLoader(Noted(), num_workers=1, batch_size=None)
    fork_again_if_stuck(loader)
    with pytest.raises(RuntimeError, match='3 data workers.*num_workers=0'):
        iter(loader)
    assert len(pids) == 3
    assert_gone(pids)


def script(end):
    """Two workers, both stuck in a sample; then ``end``."""
    return subprocess.Popen([
        sys.executable, '-c', f'''
import sys, time
from torch.utils.data import DataLoader
from mmdino.engine.longrun.workers import close_workers, protect_workers
from tests.engine.longrun.test_workers import Slow
loader = DataLoader(Slow(), num_workers=2, batch_size=None,
                    persistent_workers=True)
protect_workers(loader)
for i, pid in enumerate(loader):
    print(int(pid), flush=True)
    if i == 3:
        break
sys.stdin.readline()  # until the test has seen the workers alive
{end}'''
    ],
                            cwd=ROOT,
                            text=True,
                            start_new_session=True,
                            stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def pids_of(process):
    pids = {int(process.stdout.readline()) for _ in range(4)}
    assert len(pids) == 2 and all(map(is_alive, pids))
    process.stdin.write('\n')
    process.stdin.flush()
    return pids


def test_a_killed_trainer_leaves_no_worker():
    process = script('time.sleep(300)')
    pids = pids_of(process)
    process.kill()
    process.wait()
    assert_gone(pids)


@pytest.mark.parametrize('end', ['sys.exit(3)', 'close_workers(); exit(3)'])
def test_stuck_workers_do_not_hold_up_the_exit(end):
    process = script(end)
    pids = pids_of(process)
    assert process.wait(60) == 3
    assert_gone(pids, seconds=1.)
    assert 'Traceback' not in process.stderr.read()


def test_signals_that_a_system_lacks(monkeypatch):
    windows = enum.IntEnum('Signals', dict(SIGINT=2, SIGTERM=15))
    monkeypatch.setattr(signal, 'Signals', windows)
    assert PreemptionHook().signals == [15, 2]
    with pytest.raises(ValueError, match="no signal 'SIGTREM'.*'SIGTERM'"):
        PreemptionHook(['SIGTREM'])
    monkeypatch.delattr(signal, 'pthread_sigmask')
    with workers._blocked_signals():
        assert SIGNALS


FORKS_BESIDE_GLOO = """
import os, sys, torch
from torch.utils.data import DataLoader
from mmdino.engine.longrun.workers import fork_again_if_stuck
from torch.distributed import all_reduce, init_process_group
init_process_group('gloo')
net = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(99, 99))
for _ in range(200):
    for _ in range(2):
        work = all_reduce(torch.ones(10000), async_op=True)
        net(torch.ones(9, 99)).sum().backward()
        work.wait()
    loader = DataLoader(range(4), num_workers=2)
    fork_again_if_stuck(loader)
    work = all_reduce(torch.ones(100000), async_op=True)
    assert len([*loader]) == 4
    work.wait()
print('all forked', flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_workers_are_forked_beside_collectives(tmp_path):
    """As they were before, about one in 500 hung for ever on two cores."""
    file = tmp_path / 'forks.py'
    file.write_text(FORKS_BESIDE_GLOO)
    process = start(sys.executable, '-m', 'torch.distributed.run',
                    '--nproc_per_node=2', '--master_port', free_port(),
                    str(file))
    assert end(process).count('all forked') == 2
