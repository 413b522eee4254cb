"""Data workers that ignore signals and end together with their trainer."""
import atexit
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.context import ForkContext, ForkProcess
from multiprocessing.util import Finalize
from typing import Any

from mmengine.logging import print_log
from torch.utils.data import DataLoader

# What launchers, schedulers and terminals send. Not every system has all.
SIGNALS = ('SIGTERM', 'SIGINT', 'SIGUSR1')
_iterators = weakref.WeakSet()  # those that have workers


def known_signals(names: Sequence[str] = SIGNALS) -> list[signal.Signals]:
    """Return the signals of these names that the system has.

    Raises:
        ValueError: If a name is neither known here nor one of ``SIGNALS``.
    """
    members = signal.Signals.__members__
    for name in names:
        if name not in members and name not in SIGNALS:
            raise ValueError(f'There is no signal {name!r}: use some of '
                             f'{sorted(members)}.')
    return [members[name] for name in names if name in members]


def protect_workers(loader: DataLoader) -> None:
    """Let a loader's workers ignore ``SIGNALS`` and end with this process.

    torchrun, slurm and terminals signal every process of a group or a job.
    The trainer then finishes a step for which it needs its workers.

    Args:
        loader: Changed in place, before it is iterated.
    """
    begin = loader.worker_init_fn
    if not loader.num_workers or getattr(begin, 'func', None) is _begin:
        return
    start = loader._get_iterator

    def start_protected() -> Iterator:
        # Until a worker has come to _begin, it inherits that they are blocked.
        with _blocked_signals():
            iterator = start()
        _close_at_exit(iterator)
        for worker in iterator._workers:
            # Torch and Python terminate those that do not end when asked.
            worker._popen.terminate = worker._popen.kill
        return iterator

    loader._get_iterator = start_protected
    loader.worker_init_fn = partial(_begin, then=begin)
    fork_again_if_stuck(loader)


def fork_again_if_stuck(loader: DataLoader) -> None:
    """Fork a worker again if it hangs in the fork.

    Up to Python 3.11 a fork may copy the interpreter's lock on its list of
    threads while a thread of gloo holds it, for an instant at the end of a
    collective. The new process then waits for that lock for ever.

    Args:
        loader: Changed in place, before it is iterated, where its workers are
            forked.
    """
    context = loader.multiprocessing_context or multiprocessing
    if loader.num_workers and context.get_start_method() == 'fork':
        loader.multiprocessing_context = _SureFork()


class SureProcess(ForkProcess):
    """A process that is forked again if it does not start.

    Raises:
        RuntimeError: From :meth:`start`, if it never does.
    """
    patience = (10., 20., 40., 80.)  # seconds, of each try

    def start(self) -> None:
        """Start the process, again if it hangs."""
        task = self._target, self._args, self._kwargs
        for seconds in self.patience:
            has_begun, self._begins = os.pipe()
            super().start()
            os.close(self._begins)
            heard = wait([has_begun], seconds)
            os.close(has_begun)
            if heard:
                return
            print_log(
                f'A new data worker stood still for {seconds:g} s in the fork '
                'that makes it. It is ended, another one is forked.',
                'current', 30)
            self.kill()
            self.join()
            self._popen = None  # this and the task as before its start
            self._target, self._args, self._kwargs = task
        raise RuntimeError(
            f'{len(self.patience)} data workers in a row stood still in the '
            'fork that makes them, the last one for '
            f'{self.patience[-1]:g} s. Train with num_workers=0 or with '
            "multiprocessing_context='forkserver' in the data loaders.")

    def _bootstrap(self, *args: Any, **kwargs: Any) -> int:
        os.close(self._begins)
        return super()._bootstrap(*args, **kwargs)


class _SureFork(ForkContext):
    Process = SureProcess


def close_workers() -> None:
    """End the workers of all protected loaders, busy ones after 5 s."""
    for iterator in list(_iterators):
        iterator._shutdown_workers()


def _close_at_exit(iterator: Iterator) -> None:
    """End the workers at exit: torch would wait 5 s for each."""
    _iterators.add(iterator)
    atexit.unregister(close_workers)
    atexit.register(close_workers)  # before what torch has registered
    # A process that multiprocessing has started runs this alone.
    Finalize(iterator, _close, [weakref.ref(iterator)], exitpriority=1)


def _close(reference: weakref.ref) -> None:
    iterator = reference()
    if iterator is not None:
        iterator._shutdown_workers()


def _begin(worker_id: int, then: Callable | None) -> None:
    """Set signal handlers in a worker, after torch has set its own."""
    for number in known_signals():
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_trainer, daemon=True).start()
    if then is not None:
        then(worker_id)


def _end_with_trainer() -> None:
    """End a worker when its trainer ends.

    Torch checks that only every 5 s, between two batches.
    """
    multiprocessing.parent_process().join()
    os._exit(1)


@contextmanager
def _blocked_signals() -> Iterator[None]:
    if not hasattr(signal, 'pthread_sigmask'):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, known_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
