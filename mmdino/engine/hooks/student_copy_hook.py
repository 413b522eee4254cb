"""The student itself as the teacher (arXiv 2104.14294, Fig. 6)."""
from typing import Optional

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.registry import HOOKS
from .runner_access import dino_model


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
