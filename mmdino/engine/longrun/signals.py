"""A signal to stop saves first."""
import os
import os.path as osp
import signal
import sys
import threading
from types import FrameType
from typing import Optional, Sequence

import torch
from mmengine.dist import all_reduce, barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.longrun.checkpoints import INTERRUPTED, point_to
from mmdino.registry import HOOKS

SIGNALS = ('SIGTERM', 'SIGINT', 'SIGUSR1')


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On a signal, finish the step, save ``interrupted.pth`` and exit.

    The signal may reach any process; all stop after the same step, with the
    exit status 128 + signal. ``--resume`` goes on from there. A second signal
    stops at once. One that the process ignores stays ignored.

    Args:
        signals (Sequence[str]): Names of the signals. SIGTERM is what slurm
            and torchrun send, SIGINT is Ctrl-C.
    """
    priority = 'LOWEST'

    def __init__(self, signals: Sequence[str] = SIGNALS) -> None:
        self.signals = [signal.Signals[name] for name in signals]
        self._previous = {}
        self._received = 0

    def before_train(self, runner: Runner) -> None:
        """Listen, where Python allows it: in the main thread."""
        if threading.current_thread() is threading.main_thread():
            self._received = 0
            self._previous = {
                number: signal.signal(number, self._receive)
                for number in self.signals
                if signal.getsignal(number) is not signal.SIG_IGN
            }

    def after_train(self, runner: Runner) -> None:
        """Listen no longer."""
        self._restore()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Save and exit if any rank got a signal.

        Between two steps of accumulated gradients it waits for the next step.
        """
        if not runner.optim_wrapper.should_update():
            return
        received = torch.tensor(self._received)
        all_reduce(received, op='max')
        if received:
            self._restore()
            _save(runner, signal.Signals(int(received)).name)
            sys.exit(128 + int(received))

    def _receive(self, number: int, frame: Optional[FrameType]) -> None:
        if self._received:
            self._restore()
            os.kill(os.getpid(), number)
        self._received = int(number)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


def _save(runner: Runner, name: str) -> None:
    runner.save_checkpoint(
        runner.work_dir,
        INTERRUPTED,
        by_epoch=False,
        backend_args=dict(backend='atomic'))
    path = osp.join(runner.work_dir, INTERRUPTED)
    if is_main_process():
        point_to(runner.work_dir, path)
    runner.logger.warning(f'{name}: stopped after iteration '
                          f'{runner.iter + 1}, saved to {path}. Continue with '
                          '--resume.')
    barrier()  # a launcher kills the others when the first has left
