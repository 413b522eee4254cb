"""The teacher's temperature and centre over time."""
import math
from typing import Optional

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.hooks.access import dino_model, require_epochs
from mmdino.registry import HOOKS


def linear_warmup(epoch: int, warmup_epochs: int, start: float,
                  end: float) -> float:
    """From ``start`` to ``end`` in equal steps, both ends included.

    Args:
        epoch (int): Counted from 0.
        warmup_epochs (int): Epochs that the warm-up takes; ``end`` is
            reached in the last of them. 0 gives ``end`` at once.
    """
    if epoch >= warmup_epochs:
        return end
    return start + (end - start) * epoch / max(warmup_epochs - 1, 1)


@HOOKS.register_module()
class CenteringHook(Hook):
    """Set the temperature of each epoch; move the centre after each step.

    Args:
        teacher_temp (float): Temperature after the warm-up.
        warmup_teacher_temp (float): Temperature in the first epoch.
        warmup_epochs (int): Epochs of linear warm-up, both ends included.

    Raises:
        ValueError: If a temperature is not positive or the warm-up negative.
    """

    def __init__(self,
                 teacher_temp: float = 0.04,
                 warmup_teacher_temp: float = 0.04,
                 warmup_epochs: int = 0) -> None:
        for value in (teacher_temp, warmup_teacher_temp):
            if not 0 < value < math.inf:
                raise ValueError(
                    f'CenteringHook: temperatures must be > 0, got {value}')
        if warmup_epochs < 0:
            raise ValueError('CenteringHook: warmup_epochs must be >= 0, got '
                             f'{warmup_epochs}')
        self.teacher_temp = teacher_temp
        self.warmup_teacher_temp = warmup_teacher_temp
        self.warmup_epochs = warmup_epochs

    def before_train(self, runner: Runner) -> None:
        """Check that there are epochs."""
        require_epochs(runner, self)

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Optional[dict] = None) -> None:
        """Set the temperature of this epoch."""
        temp = linear_warmup(runner.epoch, self.warmup_epochs,
                             self.warmup_teacher_temp, self.teacher_temp)
        dino_model(runner).centering.temperature = temp
        runner.message_hub.update_scalar('train/teacher_temp', temp)

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Move the centre if this iteration stepped."""
        if runner.optim_wrapper.should_update():
            dino_model(runner).centering.update()
