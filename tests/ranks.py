"""Run a function in several processes that form a gloo group."""
import multiprocessing
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from queue import Empty
from traceback import format_exc

import torch
import torch.distributed
import torch.multiprocessing
from mmengine.registry import DefaultScope

from mmdino.engine.launch import leave_process_group

# What all of the processes import, the first of a session alone: the others
# are forked from a server that has it, and has no threads yet.
multiprocessing.set_forkserver_preload([
    'mmdino.datasets', 'mmdino.engine.hooks', 'mmdino.engine.longrun',
    'mmdino.engine.optim', 'mmdino.evaluation', 'mmdino.models',
    'torch.testing'
])


def run_ranks(function: Callable, folder: Path, *args, ranks: int = 2) -> None:
    """Call ``function(rank, folder, *args)`` in each process, in ``folder``.

    The function's own objects are gone before the group is left: a DDP model
    that outlives it keeps threads of gloo, which abort at exit.
    """
    torch.multiprocessing.start_processes(
        _run_rank, (ranks, _new_store(folder), function, folder, *args),
        nprocs=ranks,
        start_method='forkserver')


class Ranks:
    """Processes that stay for several functions, since they start slowly.

    For functions that leave nothing behind but the group, which each call
    forms anew.
    """

    def __init__(self, ranks: int = 2) -> None:
        context = torch.multiprocessing.get_context('spawn')
        self.jobs = [context.Queue() for _ in range(ranks)]
        self.outcomes = context.Queue()
        self.processes = [
            context.Process(
                target=_serve,
                args=(rank, ranks, jobs, self.outcomes),
                daemon=True) for rank, jobs in enumerate(self.jobs)
        ]
        for process in self.processes:
            process.start()

    def run(self, function: Callable, folder: Path, *args) -> None:
        """As :func:`run_ranks`."""
        job = (_new_store(folder), function, folder, *args)
        for jobs in self.jobs:
            jobs.put(job)
        for _ in self.jobs:
            error = self._next_outcome()
            if error:
                self.close()  # others may wait for the one that failed
                raise AssertionError(error)

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.join()

    def _next_outcome(self) -> str:
        while all(process.is_alive() for process in self.processes):
            try:
                return self.outcomes.get(timeout=1)
            except Empty:
                pass
        return 'A process has died.'


def _new_store(folder: Path) -> str:
    """A file for the addresses of a group that no group before has had.

    One that is left over, since a process has not let go of it yet, names
    ports that are closed.
    """
    return f'file://{folder}/store-{uuid.uuid4().hex}'


def _serve(rank: int, ranks: int, jobs, outcomes) -> None:
    while True:
        job = jobs.get()
        torch.manual_seed(0)
        DefaultScope._instance_dict.clear()
        try:
            _run_rank(rank, ranks, *job)
            outcomes.put('')
        except BaseException:
            outcomes.put(format_exc())


def _run_rank(rank: int, ranks: int, store: str, function: Callable,
              folder: Path, *args) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank))
    os.chdir(folder)
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo', init_method=store, rank=rank, world_size=ranks)
    function(rank, folder, *args)
    leave_process_group()
    # The system lists a joined thread for a moment longer.
    deadline = time.monotonic() + 5
    while gloo_threads() and time.monotonic() < deadline:
        time.sleep(.01)
    assert not gloo_threads()


def gloo_threads() -> list:
    """Names of this process's threads that belong to gloo, on Linux."""
    tasks = Path('/proc/self/task')
    names = [(task / 'comm').read_text().strip() for task in tasks.glob('*')]
    return [name for name in names if 'gloo' in name]
