"""Logs of a long run that stay as small as those of a short one."""
from typing import Optional

from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmdino.registry import HOOKS


@HOOKS.register_module()
class LogHistoryHook(Hook):
    """Keep the last values of each logged figure in memory.

    MMEngine keeps a million, copies all of them at every iteration and writes
    them into every checkpoint. The log files have them anyway.

    Args:
        length (int): Values kept; up to twice as many between two cuts. A
            log processor's window must not be longer.

    Raises:
        ValueError: If ``length`` is below 1.
    """
    priority = 'LOWEST'

    def __init__(self, length: int = 10000) -> None:
        if length < 1:
            raise ValueError(
                f'LogHistoryHook: length must be 1 or more, got {length}')
        self.length = length

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Cut once in ``length`` iterations."""
        if not self.every_n_train_iters(runner, self.length):
            return
        scalars = runner.message_hub.log_scalars
        for name, buffer in scalars.items():
            values, counts = buffer.data
            scalars[name] = HistoryBuffer(values[-self.length:],
                                          counts[-self.length:],
                                          buffer.max_length)
