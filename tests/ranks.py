"""Run a function in several processes that form a gloo group."""
import multiprocessing
import os
import time
from pathlib import Path
from typing import Callable

import torch
import torch.distributed
import torch.multiprocessing

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
        _run_rank, (ranks, function, folder, *args),
        nprocs=ranks,
        start_method='forkserver')


def _run_rank(rank: int, ranks: int, function: Callable, folder: Path,
              *args) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_RANK=str(rank))
    os.chdir(folder)
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/store',
        rank=rank,
        world_size=ranks)
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
