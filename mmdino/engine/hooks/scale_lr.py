"""Scaling of the learning rate with the batch size."""
import math

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from mmdino.registry import HOOKS

RULES = dict(linear=float, sqrt=math.sqrt)


@HOOKS.register_module()
class ScaleLRHook(Hook):
    """Scale the learning rates by the number of images in an optimizer step.

    The images of all processes and of all accumulated iterations count.
    (MMEngine's ``auto_scale_lr``, which is linear, does not count accumulated
    iterations.) DINOv2 scales by the square root (Oquab et al. 2023, arXiv
    2304.07193, App. B). The final learning rate is not scaled.

    Args:
        base_batch_size: Number of images in a step for which the optimizer's
            ``lr`` is meant.
        rule: 'sqrt' or 'linear'.

    Raises:
        ValueError: If there is no such rule, or the size is not positive. At
            the start, if ``auto_scale_lr`` scales as well, or if a scheduler
            cannot be scaled, as those of MMEngine.
    """

    def __init__(self,
                 base_batch_size: int = 1024,
                 rule: str = 'sqrt') -> None:
        if rule not in RULES:
            raise ValueError(
                f'ScaleLRHook: rule must be one of {[*RULES]}, got {rule!r}')
        if not base_batch_size > 0:
            raise ValueError('ScaleLRHook: base_batch_size must be > 0, got '
                             f'{base_batch_size}')
        self.base_batch_size = base_batch_size
        self.rule = rule

    def before_run(self, runner: Runner) -> None:
        """Scale the rates before the first step, also of a resumed run."""
        wrapper = runner.optim_wrapper
        if not isinstance(wrapper, OptimWrapper):
            return  # the model is only tested
        schedulers = runner.param_schedulers or []
        _check(runner.cfg, schedulers)
        batch = (
            runner.train_dataloader.batch_size * get_world_size() *
            wrapper._accumulative_counts)
        factor = RULES[self.rule](batch / self.base_batch_size)
        # These groups include the one that MMEngine logs as base_lr.
        for group in wrapper.param_groups:
            group['lr'] *= factor
        for scheduler in schedulers:
            scheduler.scale(factor)
        runner.logger.info(
            f'The learning rate is scaled by {factor:.4g} ({self.rule}): it '
            f'is meant for {self.base_batch_size} images in a step, and a '
            f'step has {batch}.')


def _check(cfg: dict, schedulers: list) -> None:
    if (cfg.get('auto_scale_lr') or {}).get('enable'):
        raise ValueError(
            'Both ScaleLRHook and auto_scale_lr scale the learning rate: set '
            'auto_scale_lr.enable=False, or leave the hook out.')
    for scheduler in schedulers:
        if not hasattr(scheduler, 'scale'):
            raise ValueError(
                'ScaleLRHook cannot scale the learning rates of '
                f'{type(scheduler).__name__}, which has no method scale: use '
                "param_scheduler.type='WarmupCosine', or change "
                'optim_wrapper.optimizer.lr yourself and leave the hook out.')
