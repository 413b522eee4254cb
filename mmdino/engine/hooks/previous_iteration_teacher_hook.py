"""The student one step ago as the teacher (arXiv 2104.14294, Fig. 6)."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.registry import HOOKS
from .runner_access import dino_model


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
