"""MMEngine logs the learning rate by itself, the weight decay not."""
from typing import Optional

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.registry import HOOKS


@HOOKS.register_module()
class WeightDecayLogHook(Hook):
    """Log the weight decay of the decayed parameters as ``weight_decay``."""

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: Optional[dict] = None) -> None:
        """Log the value that this iteration's step uses."""
        groups = runner.optim_wrapper.param_groups
        runner.message_hub.update_scalar(
            'train/weight_decay', max(g['weight_decay'] for g in groups))
