"""Checkpoints of one file, whatever the weights are spread over."""
from typing import Any, Callable, Dict, Optional

from mmengine.dist import is_main_process
from mmengine.runner.checkpoint import save_checkpoint


class OneFileMixin:
    """Lets a strategy of MMEngine's write what DDP would, all or nothing."""

    def save_checkpoint(self,
                        filename: str,
                        *,
                        save_optimizer: bool = True,
                        save_param_scheduler: bool = True,
                        extra_ckpt: Optional[dict] = None,
                        callback: Optional[Callable] = None) -> None:
        """Gather on all ranks; the first one writes."""
        checkpoint: Dict[str, Any] = dict(state_dict=self.model_state_dict())
        if save_optimizer:
            checkpoint['optimizer'] = self.optim_state_dict()
        if save_param_scheduler and hasattr(self, 'param_schedulers'):
            checkpoint['param_schedulers'] = self.scheduler_state_dict()
        checkpoint.update(extra_ckpt or dict(meta={}))
        checkpoint['meta'].update(seed=self.seed)
        if callback is not None:
            callback(checkpoint)
        if is_main_process():
            save_checkpoint(
                checkpoint, filename, backend_args=dict(backend='atomic'))
