"""Hooks that update the teacher from the student."""
import math

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.hooks import RemovableHandle

from mmdino.engine.hooks.access import dino_model, require_epochs
from mmdino.models import MeanTeacher
from mmdino.registry import HOOKS


def cosine(step: int, total: int, start: float, end: float) -> float:
    """Compute a half cosine from ``start`` towards ``end``.

    Args:
        step: Iteration, from 0 to ``total - 1``.
        total: Number of iterations. ``end`` belongs to this step, and the last
            iteration stops just short of it (Caron et al. 2021, App. C).
        start: Value at step 0.
        end: Value at step ``total``.
    """
    return end + (start - end) * (1 + math.cos(math.pi * step / total)) / 2


@HOOKS.register_module()
class TeacherEMAHook(Hook):
    """Update the teacher as a moving average, with a cosine momentum schedule.

    The momentum changes with each iteration (Caron et al. 2021, Sec. 3.1) and
    is logged as ``momentum``.

    Args:
        momentum: Momentum at the first iteration, in [0, 1].
        end_momentum: Momentum that the schedule approaches at the end, in
            [0, 1].

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
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Update the teacher if the optimizer made a step."""
        if not runner.optim_wrapper.should_update():
            return
        momentum = cosine(runner.iter, runner.max_iters, self.momentum,
                          self.end_momentum)
        dino_model(runner, MeanTeacher).update_teacher(momentum)
        runner.message_hub.update_scalar('train/momentum', momentum)


@HOOKS.register_module()
class TeacherCopyHook(Hook):
    """Copy the student, running statistics included, to the teacher.

    These are the alternatives to a moving average in Fig. 6 of Caron et al.
    2021:

    - ``'after_epoch'``, "previous epoch": in each epoch the teacher is the
      student of the beginning of the epoch;
    - ``'before_step'``, "previous iter": the teacher is the student before the
      last step of the optimizer;
    - ``'after_step'``, "student copy": both are the same network, but the
      teacher's branch has no gradient.

    Args:
        when: One of the three.

    Raises:
        ValueError: If ``when`` is none of the three.
        TypeError: At the start, if it is 'after_epoch' and the train loop does
            not count epochs.
    """

    def __init__(self, when: str) -> None:
        if when not in ('after_epoch', 'before_step', 'after_step'):
            raise ValueError(
                "TeacherCopyHook: when must be 'after_epoch', 'before_step' or"
                f" 'after_step', got {when!r}")
        self.when = when
        self._handle: RemovableHandle | None = None

    def before_train(self, runner: Runner) -> None:
        """Check the train loop, or register a hook on the optimizer's step."""
        if self.when == 'after_epoch':
            require_epochs(runner, self)
        elif self.when == 'before_step':
            model = dino_model(runner, MeanTeacher)
            self._handle = runner.optim_wrapper.optimizer \
                .register_step_pre_hook(lambda *args: model.copy_student())

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Copy the student if the optimizer made a step."""
        if (self.when == 'after_step'
                and runner.optim_wrapper.should_update()):
            dino_model(runner, MeanTeacher).copy_student()

    def after_train_epoch(self, runner: Runner) -> None:
        """Copy the student before the epoch's checkpoint and validation."""
        if self.when == 'after_epoch':
            dino_model(runner, MeanTeacher).copy_student()

    def after_train(self, runner: Runner) -> None:
        """Remove the hook from the optimizer."""
        if self._handle is not None:
            self._handle.remove()
