"""The course of a training at an eighth of the disk."""
import os.path as osp

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.runner.checkpoint import save_checkpoint

from mmdino.registry import HOOKS
from .runner_access import dino_model, require_epochs, whole_state

PARTS = ('teacher.backbone.', 'teacher.neck.')


@HOOKS.register_module()
class TeacherSnapshotHook(Hook):
    """Write ``teacher_epoch_N.pth``, which stays: what evaluation reads.

    It holds the teacher's backbone and neck under their names in a whole
    checkpoint, so that tools, converters and transfer configs take either.
    To resume from it is not possible; that is what the few whole ones are
    for (``default_hooks.checkpoint.max_keep_ckpts``).

    Args:
        interval (int): Epochs between two.

    Raises:
        ValueError: If ``interval`` is below 1.
    """
    priority = 'VERY_LOW'  # with the checkpoints, after the teacher moved

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise ValueError('TeacherSnapshotHook: interval must be 1 or more,'
                             f' got {interval}')
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Check that there are epochs."""
        require_epochs(runner, self)

    def after_train_epoch(self, runner: Runner) -> None:
        """Write one if it is due."""
        if not self.every_n_epochs(runner, self.interval):
            return
        state = whole_state(dino_model(runner))
        epoch = runner.epoch + 1
        snapshot = dict(
            meta=dict(epoch=epoch, iter=runner.iter),
            state_dict={
                k: v
                for k, v in state.items() if k.startswith(PARTS)
            })
        if is_main_process():
            save_checkpoint(
                snapshot,
                osp.join(runner.work_dir, f'teacher_epoch_{epoch}.pth'),
                backend_args=dict(backend='atomic'))
