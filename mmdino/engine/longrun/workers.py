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

# Signals of launchers, schedulers and terminals. Not every system has all.
SIGNALS = ('SIGTERM', 'SIGINT', 'SIGUSR1')
_iterators = weakref.WeakSet()  # of protected loaders


def known_signals(names: Sequence[str] = SIGNALS) -> list[signal.Signals]:
    """Return the signals of these names that the system has.

    Raises:
        ValueError: If a name is neither a signal of this system nor one of
            ``SIGNALS``.
    """
    members = signal.Signals.__members__
    for name in names:
        if name not in members and name not in SIGNALS:
            raise ValueError(f'There is no signal {name!r}: use some of '
                             f'{sorted(members)}.')
    return [members[name] for name in names if name in members]


def protect_workers(loader: DataLoader) -> None:
    """Let a loader's workers ignore ``SIGNALS`` and end with this process.

    torchrun, slurm and terminals send signals to every process of a group or a
    job. The training process then finishes a step, for which it needs its
    workers.

    Args:
        loader: Changed in place; it must not have been iterated yet.
    """
    begin = loader.worker_init_fn
    if not loader.num_workers or getattr(begin, 'func', None) is _begin:
        return
    start = loader._get_iterator

    def start_protected() -> Iterator:
        # A new worker inherits blocked signals until _begin ignores them.
        with _blocked_signals():
            iterator = start()
        _close_at_exit(iterator)
        for worker in iterator._workers:
            # torch and Python call terminate for workers that do not end;
            # they ignore SIGTERM, so kill them.
            worker._popen.terminate = worker._popen.kill
        return iterator

    loader._get_iterator = start_protected
    loader.worker_init_fn = partial(_begin, then=begin)
    fork_again_if_stuck(loader)


def fork_again_if_stuck(loader: DataLoader) -> None:
    """Fork a worker again if it hangs in the fork.

    Up to Python 3.11 a new process may wait for ever for the interpreter's
    lock on its list of threads: a thread of gloo holds this lock for an
    instant at the end of a collective, and a fork at this instant copies the
    locked state.

    Args:
        loader: Changed in place if its workers are forked; it must not have
            been iterated yet.
    """
    context = loader.multiprocessing_context or multiprocessing
    if loader.num_workers and context.get_start_method() == 'fork':
        loader.multiprocessing_context = _SureFork()


class SureProcess(ForkProcess):
    """A process that is forked again if it does not start."""
    patience = (10., 20., 40., 80.)  # seconds to wait in each try

    def start(self) -> None:
        """Start the process, again if it hangs.

        Raises:
            RuntimeError: If it hangs in all tries.
        """
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
                f'A new data worker has not started after {seconds:g} s. It '
                'is killed, and another one is forked.', 'current', 30)
            self.kill()
            self.join()
            # Reset what start() has changed.
            self._popen = None
            self._target, self._args, self._kwargs = task
        raise RuntimeError(
            f'{len(self.patience)} data workers in a row have not started, '
            f'the last one after {self.patience[-1]:g} s. Train with '
            "num_workers=0 or with multiprocessing_context='forkserver' in "
            'the data loaders.')

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
    atexit.register(close_workers)  # runs before torch's own functions
    # Processes that multiprocessing has started only run finalizers.
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
    """End a worker when its training process ends.

    torch checks this only every 5 s, between two batches.
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
