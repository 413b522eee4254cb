"""A train loop that resumes exactly, from any iteration."""
import logging

import torch
from mmengine.dist import all_gather_object, broadcast_object_list, get_rank
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop

from mmdino.registry import LOOPS
from mmdino.utils.randomness import seed_all


@LOOPS.register_module()
class ResumableTrainLoop(EpochBasedTrainLoop):
    """MMEngine's epoch loop that resumes bit by bit from any iteration.

    The random numbers of an iteration (dropout, stochastic depth) depend only
    on the seed, the rank and the iteration, and those of a sample on the seed,
    the epoch and the index. A run that is resumed from any iteration therefore
    computes the same bits as one without an interruption. Images that the
    interrupted epoch has already used are not loaded again.

    Args:
        runner: The runner.
        dataloader: Config of the DataLoader, with a ``sampler``.
        **kwargs: Other arguments of ``EpochBasedTrainLoop``: ``max_epochs``,
            ``val_begin``, ``val_interval``, ``dynamic_intervals``.

    Raises:
        TypeError: If ``dataloader`` is not a config, has no sampler, or has a
            batch sampler.
        ValueError: If ``max_epochs`` or ``val_interval`` is below 1, if there
            is no batch, or if the processes have different numbers of batches,
            so that some would wait for ever.
    """

    def __init__(self, runner, dataloader: dict, **kwargs) -> None:
        for name in ('max_epochs', 'val_interval'):
            if kwargs.get(name, 1) < 1:
                raise ValueError(f'train_cfg.{name} must be 1 or more, got '
                                 f'{kwargs[name]}')
        super().__init__(runner, _seeded(dataloader), **kwargs)
        if not len(self.dataloader):
            raise ValueError(
                'train_dataloader gives no batch: each process has '
                f'{len(self.dataloader.sampler)} images, which is less than '
                'batch_size, and drop_last=True. Lower batch_size.')
        lengths = all_gather_object(len(self.dataloader))
        if min(lengths) != max(lengths):
            raise ValueError(
                f'The processes have {lengths} batches in an epoch, and the '
                'numbers must be equal: set train_dataloader.sampler.'
                'round_up=True or train_dataloader.drop_last=True.')

    def run(self) -> torch.nn.Module:
        """Train from where the checkpoint left off.

        If the training ends by an exception, ``after_failed_train(runner)`` of
        all hooks that have this method is called.
        """
        shared_seed: list[int] = [self.runner.seed]
        broadcast_object_list(shared_seed)
        self._seed = shared_seed[0]
        self.dataloader.sampler.set_seed(self._seed)
        try:
            return super().run()
        except BaseException:
            self.runner.call_hook('after_failed_train')
            raise

    def run_epoch(self) -> None:
        """Run the remaining iterations of the epoch."""
        sampler, start = self.dataloader.sampler, self._batches_done()
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        sampler.start = start * self.dataloader.batch_size
        for idx, data_batch in enumerate(self.dataloader, start):
            self.run_iter(idx, data_batch)
        sampler.start = 0
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Seed all generators and train on one batch."""
        seed_all(self._seed, get_rank(), self._iter)
        super().run_iter(idx, data_batch)

    def _batches_done(self) -> int:
        """Return the number of batches of this epoch that are done."""
        length = len(self.dataloader)
        done = self._iter - self._epoch * length
        if 0 <= done <= length:
            return done
        print_log(
            f'The checkpoint is of iteration {self._iter} in epoch '
            f'{self._epoch}, which now has {length} iterations: the batch '
            'size, the number of processes or the data set has changed. The '
            'epoch starts anew.',
            logger='current',
            level=logging.WARNING)
        return 0


def _seeded(dataloader: dict) -> dict:
    """Wrap the data set and the sampler of a data loader's config."""
    is_config = isinstance(dataloader, dict)
    lacks = is_config and dataloader.get('sampler') is None
    if (not is_config or lacks or dataloader.get('batch_sampler') is not None):
        raise TypeError(
            'ResumableTrainLoop needs train_dataloader as a config with a '
            'sampler and without a batch_sampler, got '
            f'{"no sampler in " if lacks else ""}{dataloader}. For other '
            'loaders use train_cfg.type="EpochBasedTrainLoop", which resumes '
            'only at the start of an epoch.')
    return dict(
        dataloader,
        dataset=dict(
            type='mmdino.SeededDataset', dataset=dataloader['dataset']),
        sampler=dict(
            type='mmdino.SeededSampler', sampler=dataloader['sampler']))
