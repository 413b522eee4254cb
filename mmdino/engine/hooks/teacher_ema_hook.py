"""When and how much the teacher follows the student."""
from typing import Optional

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.schedules import cosine
from mmdino.registry import HOOKS
from .runner_access import dino_model


@HOOKS.register_module()
class TeacherEMAHook(Hook):
    """Move the teacher after every optimizer step, momentum by cosine.

    The momentum belongs to the iteration (Caron et al. 2021, Sec. 3.1) and is
    logged as ``momentum``.

    Args:
        momentum (float): At the first iteration, in [0, 1].
        end_momentum (float): Towards the last iteration, in [0, 1].

    Raises:
        ValueError: If a momentum is outside [0, 1].
    """

    def __init__(self,
                 momentum: float = 0.996,
                 end_momentum: float = 1.0) -> None:
        for value in (momentum, end_momentum):
            if not 0 <= value <= 1:
                raise ValueError(
                    f'TeacherEMAHook: a momentum must be in [0, 1], got '
                    f'{value}')
        self.momentum = momentum
        self.end_momentum = end_momentum

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Update the teacher if this iteration stepped."""
        if not runner.optim_wrapper.should_update():
            return
        momentum = cosine(runner.iter, runner.max_iters, self.momentum,
                          self.end_momentum)
        dino_model(runner).update_teacher(momentum)
        runner.message_hub.update_scalar('train/momentum', momentum)
