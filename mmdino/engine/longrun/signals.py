"""Saving a checkpoint when a signal asks the training to stop."""
import os
import os.path as osp
import signal
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import torch
from mmengine.dist import (all_gather_object, all_reduce, barrier, get_backend,
                           get_world_size, is_main_process)
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from mmdino.engine.longrun.checkpoints import (INTERRUPTED, point_to,
                                               warn_if_slow)
from mmdino.engine.longrun.workers import (SIGNALS, fork_again_if_stuck,
                                           known_signals, protect_workers)
from mmdino.registry import HOOKS

PATIENCE = 2.  # seconds after which a second Ctrl-C stops at once
# Key in the message hub, which checkpoints store.
DUE = 'unfinished_validation'


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On a signal, save ``interrupted.pth`` and exit with 128 + signal.

    The run stops after the current step of the training, or after the current
    batch of the queries or the gallery in a validation, but not while metrics
    are computed. A run that is resumed repeats an interrupted validation. The
    signal may reach one process or all of them: all processes stop at the same
    step. Data workers ignore it.

    Launchers send signals repeatedly: later ones have no effect, except that
    another Ctrl-C after 2 s stops at once. Signals that the process ignores
    when the training starts stay ignored.

    Args:
        signals: Names of the signals. slurm and torchrun send SIGTERM, and
            Ctrl-C is SIGINT. Default signals that the system does not have,
            such as SIGUSR1 on Windows, are left out.

    Raises:
        ValueError: If there is no signal of a given name.
    """
    priority = 'LOWEST'

    def __init__(self, signals: Sequence[str] = SIGNALS) -> None:
        self.signals = known_signals(signals)
        self._previous = {}
        self._received = 0
        self._is_training = False
        self._place = {}

    def before_run(self, runner: Runner) -> None:
        """Protect the data workers from the signals."""
        self._is_training = isinstance(runner._train_loop, BaseLoop)
        if not self._is_training:
            for loader in _loaders(runner._test_loop):
                fork_again_if_stuck(loader)
            return
        self._group = None
        if get_world_size() > 1 and get_backend() != 'gloo':
            # With gloo, asking the other ranks does not wait for the GPU.
            self._group = torch.distributed.new_group(backend='gloo')
        for loader in _loaders(runner._train_loop):
            protect_workers(loader)
        # If ranks had different numbers of batches, one would wait for ever.
        self._is_even = True
        for loader in _loaders(runner._val_loop):
            protect_workers(loader)
            self._is_even &= len(set(all_gather_object(len(loader)))) == 1

    def before_train(self, runner: Runner) -> None:
        """Install signal handlers; repeat an interrupted validation."""
        self._listen()
        if runner.message_hub.runtime_info.get(DUE):
            runner.message_hub.update_info(DUE, False)
            # At iteration 0 ValidateFirstHook does it.
            if runner.iter and runner.val_loop is not None:
                runner.logger.info('Validating again: the validation of epoch '
                                   f'{runner.epoch} was interrupted.')
                runner.val_loop.run()

    def before_train_epoch(self, runner: Runner) -> None:
        """Stop before an epoch if a signal was received."""
        self._stop_if_asked(runner, runner.iter)

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Stop after an iteration if a signal was received."""
        self._stop_if_asked(runner, runner.iter + 1)

    def before_val(self, runner: Runner) -> None:
        """Stop before a validation if a signal was received.

        This installs the handlers if a validation precedes the training.
        """
        self._listen()
        self._stop_if_asked(runner, runner.iter, validation_due=True)

    def after_val_iter(self, runner: Runner, *args: Any,
                       **kwargs: Any) -> None:
        """Stop after a batch of queries if a signal was received."""
        if self._is_training and self._is_even:
            self._stop_if_asked(runner, runner.iter, validation_due=True)

    def after_gallery_iter(self, runner: Runner) -> None:
        """Stop after a batch of the gallery if a signal was received."""
        self.after_val_iter(runner)

    def after_train(self, runner: Runner) -> None:
        """Remove the signal handlers."""
        self._is_training = False
        self._restore()

    def after_failed_train(self, runner: Runner) -> None:
        """Remove the signal handlers: in a notebook the process continues."""
        self.after_train(runner)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Correct the epoch and iteration that MMEngine stores."""
        checkpoint['meta'].update(self._place)

    def _stop_if_asked(self,
                       runner: Runner,
                       iteration: int,
                       validation_due: bool = False) -> None:
        """Save and exit if any rank has received a signal.

        With accumulated gradients this happens only after an optimizer step.
        """
        if not (self._is_training and runner.optim_wrapper.should_update()):
            return
        received = torch.tensor(self._received)
        all_reduce(received, 'max', self._group)
        if not received:
            return
        self._received = int(received)
        self._place = dict(epoch=runner.epoch, iter=iteration)
        runner.message_hub.update_info(DUE, validation_due)
        _save(runner, iteration, signal.Signals(self._received))
        self._is_training = False
        self._restore()
        sys.exit(128 + self._received)

    def _listen(self) -> None:
        """Install the handlers, which Python allows in the main thread only.
        """
        if (not self._is_training or self._previous
                or threading.current_thread() is not threading.main_thread()):
            return
        self._received = 0
        self._previous = {
            number: signal.signal(number, self._receive)
            for number in self.signals
            if signal.getsignal(number) is not signal.SIG_IGN
        }

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self._received:
            self._received, self._since = int(number), now
            _say(f'{signal.Signals(number).name}: will save and stop.')
        elif number == signal.SIGINT and now - self._since > PATIENCE:
            self._restore()
            os.kill(os.getpid(), number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


def ignore_signals() -> None:
    """Ignore the signals in a process that is about to exit."""
    for number in known_signals():
        signal.signal(number, signal.SIG_IGN)


def _loaders(loop: BaseLoop | None) -> Sequence[DataLoader]:
    """Return the data loaders that a loop has built, if any."""
    if not isinstance(loop, BaseLoop):
        return []
    return [x for x in vars(loop).values() if isinstance(x, DataLoader)]


def _say(text: str) -> None:
    """Write a line without buffer: a handler may interrupt another write."""
    os.write(2, f'[pid {os.getpid()}] {text}\n'.encode())


def _save(runner: Runner, iteration: int, number: signal.Signals) -> None:
    started = time.monotonic()
    path = osp.join(runner.work_dir, INTERRUPTED)
    runner.save_checkpoint(
        runner.work_dir,
        INTERRUPTED,
        by_epoch=False,
        backend_args=dict(backend='atomic'))
    if is_main_process():
        point_to(runner.work_dir, path)
    seconds = time.monotonic() - started
    runner.logger.warning(
        f'{number.name}: stopped after iteration {iteration}, saved to {path} '
        f'in {seconds:.1f} s. Continue with --resume. Exit status '
        f'{128 + number}.')
    warn_if_slow(seconds)
    barrier()  # a launcher kills all processes when the first one exits
