"""Schedule of learning rate and weight decay, by iteration."""

from mmengine.optim.scheduler.param_scheduler import (OptimizerType,
                                                      _ParamScheduler)

from mmdino.engine.hooks.teacher import cosine
from mmdino.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupCosine(_ParamScheduler):
    """Linear warm-up, then a half cosine of the rate and of the weight decay.

    Each value is computed from the iteration and the settings of this run
    alone (Caron et al. 2021, App. C), and the iteration is all that a
    checkpoint keeps: a resumed run follows its own config.

    Args:
        optimizer: With the values to start from. Parameter groups keep their
            ratios, to ``end_lr`` as well: one without weight decay stays
            without. The rate of the schedule is that of a group whose
            ``lr_scale`` is 1 or not given; of several, the largest.
        epoch_length: Iterations of an epoch.
        end: Epochs of the training.
        warmup_epochs: Epochs in which the rate rises from 0; it arrives in
            the last iteration of them.
        end_lr: Rate that the cosine falls towards.
        end_weight_decay: What the weight decay rises towards, from the first
            iteration on; None leaves it constant.

    Raises:
        ValueError: If the warm-up leaves nothing of the training, or the
            weight decay is to rise from 0.
    """

    @classmethod
    def build_iter_from_epoch(cls, *args, **kwargs) -> 'WarmupCosine':
        """Build the scheduler, which counts iterations in any case."""
        return cls(*args, **kwargs)

    def __init__(self,
                 optimizer: OptimizerType,
                 epoch_length: int,
                 end: int,
                 warmup_epochs: float = 0,
                 end_lr: float = 0.,
                 end_weight_decay: float | None = None) -> None:
        if not 0 <= warmup_epochs < end:
            raise ValueError(
                f'WarmupCosine: a training of {end} epochs has nothing left '
                f'after a warm-up of {warmup_epochs}: give fewer epochs of '
                'warm-up (param_scheduler.warmup_epochs), or train for more '
                '(train_cfg.max_epochs).')
        self.total = end * epoch_length
        self.warmup = round(warmup_epochs * epoch_length)
        self.end_lr = end_lr
        self.end_weight_decay = end_weight_decay
        # Without what MMEngine appends for the log, which nothing scales.
        groups = getattr(optimizer, 'optimizer', optimizer).param_groups
        self.scales = [group.get('lr_scale', 1.) for group in groups]
        self.base_decays = [g['weight_decay'] for g in optimizer.param_groups]
        if end_weight_decay is not None and not any(self.base_decays):
            raise ValueError(
                f'WarmupCosine: end_weight_decay={end_weight_decay} is to '
                'rise from a weight decay of 0: give optim_wrapper.optimizer.'
                'weight_decay, or leave out end_weight_decay.')
        super().__init__(optimizer, 'lr', end=self.total, by_epoch=False)

    def step(self) -> None:
        """Set the values of the next iteration."""
        self.last_step += 1
        self._set_values()

    def state_dict(self) -> dict:
        """Return the iteration."""
        return dict(last_step=self.last_step)

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue from an iteration with the settings of this run.

        Args:
            state_dict: Of this class, or of one of MMEngine's schedulers that
                counted iterations, as in checkpoints of mmdino 0.1.

        Raises:
            ValueError: If it counted epochs.
        """
        if state_dict.get('by_epoch'):
            raise ValueError(
                'The checkpoint was saved by a scheduler that counted epochs, '
                'from which WarmupCosine cannot go on: start from it '
                '(load_from) instead of --resume, or keep the scheduler that '
                'it was trained with.')
        self.last_step = state_dict.get('_global_step',
                                        state_dict['last_step'])
        self._set_values()

    def scale(self, factor: float) -> None:
        """Multiply the initial rates; the final ones stay."""
        self.base_values = [lr * factor for lr in self.base_values]
        self._set_values()

    def _set_values(self) -> None:
        step, start_decay = min(self.last_step,
                                self.total), max(self.base_decays)
        rates = zip(self.base_values, self.scales)
        start_lr = max([lr / scale for lr, scale in rates if scale], default=0)
        if step < self.warmup:
            lr = start_lr * step / max(self.warmup - 1, 1)
        else:
            lr = cosine(step - self.warmup, self.total - self.warmup, start_lr,
                        self.end_lr)
        decay = start_decay
        if self.end_weight_decay is not None:
            decay = cosine(step, self.total, decay, self.end_weight_decay)
        groups = self.optimizer.param_groups
        for group, base_lr, base_decay in zip(groups, self.base_values,
                                              self.base_decays):
            group['lr'] = lr * base_lr / (start_lr or 1.)
            group['weight_decay'] = decay * base_decay / (start_decay or 1.)
        self._last_value = [group['lr'] for group in groups]
