"""Schedules of the teacher's temperature and updates of the centres."""
import math

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.hooks.access import dino_model, require_epochs
from mmdino.registry import HOOKS


def linear_warmup(step: int, warmup: int, start: float, end: float) -> float:
    """Interpolate from ``start`` to ``end`` in equal steps, both included.

    Args:
        step: Epoch or iteration, counted from 0.
        warmup: Number of epochs or iterations of the warm-up; ``end`` is
            reached in the last of them. With 0 the value is always ``end``.
        start: Value at step 0.
        end: Value after the warm-up.
    """
    if step >= warmup:
        return end
    return start + (end - start) * step / max(warmup - 1, 1)


@HOOKS.register_module()
class CenteringHook(Hook):
    """Set the teacher's temperature and update the centres after each step.

    All centerings of the model have the same temperature.

    Args:
        teacher_temp: Temperature after the warm-up.
        warmup_teacher_temp: Temperature at the start.
        warmup_epochs: Epochs of linear warm-up, both ends included.
        by_epoch: Whether the temperature changes between epochs, as in DINO.
            Otherwise it changes in every iteration, as in DINOv2, and the
            warm-up may end within an epoch.

    Raises:
        ValueError: If a temperature is not positive, ``warmup_epochs`` is
            negative, or it is a fraction and ``by_epoch`` is True.
        TypeError: At the start, if the train loop does not count epochs.
    """

    def __init__(self,
                 teacher_temp: float = 0.04,
                 warmup_teacher_temp: float = 0.04,
                 warmup_epochs: float = 0,
                 by_epoch: bool = True) -> None:
        for value in (teacher_temp, warmup_teacher_temp):
            if not 0 < value < math.inf:
                raise ValueError(
                    f'CenteringHook: temperatures must be > 0, got {value}')
        if warmup_epochs < 0:
            raise ValueError('CenteringHook: warmup_epochs must be >= 0, got '
                             f'{warmup_epochs}')
        if by_epoch and warmup_epochs != int(warmup_epochs):
            raise ValueError(
                f'CenteringHook: warmup_epochs={warmup_epochs} ends within an '
                'epoch, but the temperature changes between epochs: set '
                'by_epoch=False, or a whole number.')
        self.teacher_temp = teacher_temp
        self.warmup_teacher_temp = warmup_teacher_temp
        self.warmup_epochs = warmup_epochs
        self.by_epoch = by_epoch

    def before_train(self, runner: Runner) -> None:
        """Check that the loop counts epochs."""
        require_epochs(runner, self)

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Set the temperature of this epoch or iteration."""
        step, warmup = runner.epoch, self.warmup_epochs
        if not self.by_epoch:
            step = runner.iter
            warmup = round(warmup * len(runner.train_dataloader))
        temp = linear_warmup(step, warmup, self.warmup_teacher_temp,
                             self.teacher_temp)
        for centering in dino_model(runner).centerings:
            centering.temperature = temp
        runner.message_hub.update_scalar('train/teacher_temp', temp)

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Update the centres if the optimizer made a step."""
        if runner.optim_wrapper.should_update():
            for centering in dino_model(runner).centerings:
                centering.update()
