"""The previous epoch's student as the teacher (arXiv 2104.14294, Fig. 6)."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.registry import HOOKS
from .runner_access import dino_model, require_epochs


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
