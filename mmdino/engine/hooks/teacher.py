"""When and how much the teacher follows the student."""
from typing import Optional

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.hooks.access import dino_model, require_epochs
from mmdino.engine.schedules import cosine
from mmdino.registry import HOOKS


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


@HOOKS.register_module()
class PreviousEpochTeacherHook(Hook):
    """Copy the student to the teacher after every epoch.

    In the first epoch the teacher is the network as it was initialised.
    """

    def before_train(self, runner: Runner) -> None:
        """Check that there are epochs."""
        require_epochs(runner, self)

    def after_train_epoch(self, runner: Runner) -> None:
        """Copy, before the epoch's checkpoint and validation."""
        dino_model(runner).copy_student()


@HOOKS.register_module()
class PreviousIterationTeacherHook(Hook):
    """Copy the student to the teacher just before every optimizer step.

    The teacher of a step is then the student before the last one. It differs
    from :class:`StudentCopyHook` by this one step.
    """

    def before_train(self, runner: Runner) -> None:
        """Hook into the optimizer."""
        model = dino_model(runner)

        def copy_student(optimizer, args, kwargs) -> None:
            model.copy_student()

        runner.optim_wrapper.optimizer.register_step_pre_hook(copy_student)


@HOOKS.register_module()
class StudentCopyHook(Hook):
    """Copy the student to the teacher after every optimizer step.

    Both are one network, of which the teacher's branch has no gradient.
    """

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Copy if this iteration stepped."""
        if runner.optim_wrapper.should_update():
            dino_model(runner).copy_student()
