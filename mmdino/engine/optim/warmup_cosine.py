"""Schedule of learning rate and weight decay, by iteration."""

from mmengine.optim.scheduler.param_scheduler import (OptimizerType,
                                                      _ParamScheduler)

from mmdino.engine.hooks.teacher import cosine
from mmdino.registry import PARAM_SCHEDULERS


@PARAM_SCHEDULERS.register_module()
class WarmupCosine(_ParamScheduler):
    """Linear warm-up, then a half cosine of the rate and of the weight decay.

    The values depend only on the iteration and on the settings of this run
    (Caron et al. 2021, App. C). A checkpoint stores the iteration alone, so
    that a resumed run follows its own config.

    Args:
        optimizer: The optimizer, with the initial learning rate and weight
            decay of each parameter group. The groups keep their ratios during
            the whole schedule: a group without weight decay stays without, and
            ``end_lr`` is scaled as the initial rate. Rates of the schedule are
            those of a group with ``lr_scale`` 1, which is the default; of
            several, the largest.
        epoch_length: Number of iterations in an epoch.
        end: Number of epochs of the training.
        warmup_epochs: Number of epochs in which the rate rises from 0 to its
            initial value, which the last of their iterations has.
        end_lr: Learning rate that the cosine approaches.
        end_weight_decay: Weight decay that a cosine approaches from the first
            iteration on; None keeps it constant.

    Raises:
        ValueError: If the warm-up is not shorter than the training, or the
            weight decay should rise from 0.
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
                f'WarmupCosine: the warm-up of {warmup_epochs} epochs must '
                f'be shorter than the training of {end} and not negative: '
                'lower param_scheduler.warmup_epochs, or raise '
                'train_cfg.max_epochs.')
        self.total = end * epoch_length
        self.warmup = round(warmup_epochs * epoch_length)
        self.end_lr = end_lr
        self.end_weight_decay = end_weight_decay
        # Without the group that MMEngine appends for the log only.
        groups = getattr(optimizer, 'optimizer', optimizer).param_groups
        self.scales = [group.get('lr_scale', 1.) for group in groups]
        self.base_decays = [g['weight_decay'] for g in optimizer.param_groups]
        if end_weight_decay is not None and not any(self.base_decays):
            raise ValueError(
                f'WarmupCosine: end_weight_decay={end_weight_decay} cannot be '
                'reached from a weight decay of 0: set '
                'optim_wrapper.optimizer.weight_decay, or leave '
                'end_weight_decay out.')
        super().__init__(optimizer, 'lr', end=self.total, by_epoch=False)

    def step(self) -> None:
        """Set the values of the next iteration."""
        self.last_step += 1
        self._set_values()

    def state_dict(self) -> dict:
        """Return a dict with the iteration."""
        return dict(last_step=self.last_step)

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue from an iteration with the settings of this run.

        Args:
            state_dict: State of this class, or of a scheduler of MMEngine that
                counted iterations.

        Raises:
            ValueError: If the saved scheduler counted epochs.
        """
        if state_dict.get('by_epoch'):
            raise ValueError(
                'The checkpoint was saved by a scheduler that counted epochs, '
                'which WarmupCosine cannot continue: start from its weights '
                '(load_from) instead of --resume, or use the scheduler that '
                'it was trained with.')
        self.last_step = state_dict.get('_global_step',
                                        state_dict['last_step'])
        self._set_values()

    def scale(self, factor: float) -> None:
        """Multiply the initial learning rates; ``end_lr`` does not change."""
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
