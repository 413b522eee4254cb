"""Checkpoints of which a good one is always there."""
from typing import List, Optional

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmdino.engine.checkpoint_files import point_to
from mmdino.registry import HOOKS


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's hook, made safe against a stop at any moment.

    A checkpoint is written to a temporary file, synced and renamed, then
    ``last_checkpoint`` follows, and only then the outdated one goes. One that
    falls due between two steps of accumulated gradients waits for the next
    step, since no checkpoint holds the gradients.

    Args:
        backend_args (dict, optional): Another way to write files, see
            MMEngine's ``CheckpointHook``.
        **kwargs: The rest of its arguments.
    """

    def __init__(self, backend_args: Optional[dict] = None, **kwargs) -> None:
        super().__init__(
            backend_args=backend_args or dict(backend='atomic'), **kwargs)
        self._is_due = False

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Save what is due."""
        if self._is_due and runner.optim_wrapper.should_update():
            step = runner.epoch if self.by_epoch else runner.iter + 1
            self._save_checkpoint_with_step(
                runner, step, dict(epoch=runner.epoch, iter=runner.iter + 1))
        super().after_train_iter(runner, batch_idx, data_batch, outputs)

    def _save_checkpoint(self, runner: Runner) -> None:
        if runner.optim_wrapper.should_update():
            super()._save_checkpoint(runner)
        else:
            self._is_due = True

    def _save_checkpoint_with_step(self, runner: Runner, step: int,
                                   meta: dict) -> None:
        outdated = self._outdated(runner, step)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            # FlexibleRunner writes over epoch and iter by it.
            by_epoch=self.by_epoch and not self._is_due,
            backend_args=self.backend_args,
            **self.args)
        self._is_due = False
        if is_main_process():
            point_to(runner.work_dir, self.last_ckpt)
            for path in outdated:
                self._remove(path)

    def _outdated(self, runner: Runner, step: int) -> List[str]:
        """Checkpoints that go when that of ``step`` is written."""
        if self.max_keep_ckpts <= 0:
            return []
        steps = [s for s in self.keep_ckpt_ids if s != step] + [step]
        self.keep_ckpt_ids = steps[-self.max_keep_ckpts:]
        runner.message_hub.update_info('keep_ckpt_ids', self.keep_ckpt_ids)
        return [
            self.file_backend.join_path(self.out_dir,
                                        self.filename_tmpl.format(s))
            for s in steps[:-self.max_keep_ckpts]
        ]

    def _remove(self, path: str) -> None:
        if self.file_backend.isfile(path):
            self.file_backend.remove(path)
        elif self.file_backend.isdir(path):  # DeepSpeed's are folders
            self.file_backend.rmtree(path)
