"""How many images of the training set could not be read."""
from typing import Optional

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmdino.registry import HOOKS


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """Log the number after each epoch in which it has grown.

    It is that of all workers and ranks.
    """

    def __init__(self) -> None:
        self._known = 0

    def after_train_epoch(self, runner: Runner) -> None:
        """Count the images that the data set has replaced."""
        flags = _flags(runner.train_dataloader.dataset)
        if flags is None:
            return
        flags = flags.to(torch.uint8)
        all_reduce(flags, op='max')
        count = int(flags.sum())
        if count > self._known:
            runner.logger.warning(
                f'{count} of {len(flags)} images ({count / len(flags):.1%}) '
                'could not be read so far and were replaced by others.')
        self._known = count


def _flags(dataset: Optional[Dataset]) -> Optional[torch.Tensor]:
    """Those of a data set or of the one that it wraps."""
    while dataset is not None and not hasattr(dataset, 'unreadable'):
        dataset = getattr(dataset, 'dataset', None)
    return None if dataset is None else dataset.unreadable
