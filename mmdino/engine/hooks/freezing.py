"""Parts of the student that stay frozen for the first epochs."""
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Optimizer

from mmdino.engine.hooks.access import dino_model, require_epochs
from mmdino.models import MeanTeacher
from mmdino.registry import HOOKS


@HOOKS.register_module()
class FreezeBackboneHook(Hook):
    """Freeze the student's backbone for the first iterations.

    It is for training that starts from weights without heads: the gradients of
    randomly initialised heads would spoil the backbone. The gradients of the
    backbone are set to None just before each step of the optimizer, which then
    skips these parameters: no update, no weight decay, no moments. Afterwards
    the learning rates of the backbone rise linearly to those of the schedule.
    Toggling ``requires_grad`` would break DDP.

    Args:
        num_iters: Number of iterations in which the backbone is frozen; a
            number below 1 is a fraction of the whole training.
        warmup_iters: Number of iterations in which its learning rates rise;
            a number below 1 is a fraction of the whole training.

    Raises:
        ValueError: If a number is negative. At the start, if the backbone
            would be frozen in all iterations, or if the optimizer has
            parameters of the backbone and others in one group, whose learning
            rate cannot rise separately.
    """

    def __init__(self,
                 num_iters: float = 0.1,
                 warmup_iters: float = 0.05) -> None:
        for name, value in dict(
                num_iters=num_iters, warmup_iters=warmup_iters).items():
            if value < 0:
                raise ValueError(
                    f'FreezeBackboneHook: {name} must be >= 0, got {value}')
        self.num_iters = num_iters
        self.warmup_iters = warmup_iters

    def before_train(self, runner: Runner) -> None:
        """Register hooks on the optimizer's step."""
        frozen, rising = (
            round(n * runner.max_iters) if n < 1 else round(n)
            for n in (self.num_iters, self.warmup_iters))
        if frozen >= runner.max_iters:
            raise ValueError(
                f'FreezeBackboneHook: num_iters={self.num_iters} freezes the '
                f'backbone in all {runner.max_iters} iterations: lower '
                'num_iters, or train for longer (train_cfg.max_epochs).')
        optimizer = runner.optim_wrapper.optimizer
        params = [
            p for p in dino_model(runner, MeanTeacher).backbone.parameters()
            if p.requires_grad
        ]
        groups = _groups_of(params, optimizer) if rising else []
        rates = []

        def before_step(optimizer: Optimizer, args: tuple,
                        kwargs: dict) -> None:
            if runner.iter < frozen:
                for param in params:
                    param.grad = None
                return
            share = (runner.iter - frozen + 1) / (rising + 1)
            rates[:] = [group['lr'] for group in groups]
            for group in groups:
                group['lr'] *= min(share, 1.)

        def after_step(optimizer: Optimizer, args: tuple,
                       kwargs: dict) -> None:
            for group, rate in zip(groups, rates):
                group['lr'] = rate
            rates.clear()

        self._handles = [
            optimizer.register_step_pre_hook(before_step),
            optimizer.register_step_post_hook(after_step)
        ]
        runner.logger.info(
            f'The backbone is frozen in the first {frozen} of '
            f'{runner.max_iters} iterations; its learning rates rise in the '
            f'next {rising} iterations.')

    def after_train(self, runner: Runner) -> None:
        """Remove the hooks from the optimizer."""
        for handle in self._handles:
            handle.remove()


def _groups_of(params: list, optimizer: Optimizer) -> list[dict]:
    """Return the optimizer's groups of these parameters.

    Raises:
        ValueError: If a group also holds other parameters.
    """
    own = {id(param) for param in params}
    groups = []
    for group in optimizer.param_groups:
        inside = {id(param) for param in group['params']}
        if inside & own and inside - own:
            raise ValueError(
                'FreezeBackboneHook: the optimizer has the backbone and other '
                'parts in one parameter group, so that the learning rate of '
                'the backbone cannot rise separately: give it groups of its '
                "own, by constructor='LayerDecayConstructor' and "
                'paramwise_cfg.backbone_lr_mult, or set warmup_iters=0.')
        if inside & own:
            groups.append(group)
    return groups


@HOOKS.register_module()
class FreezeLastLayerHook(Hook):
    """Freeze the last layers of the student's heads for the first epochs.

    By gradient, as in DINO: the gradients are set to None just before each
    step of the optimizer, after unscaling and clipping. The optimizer then
    skips these layers: no update, no weight decay, no moments. Toggling
    ``requires_grad`` would break DDP.

    By rate, as in DINOv2, which sets the learning rate of these layers to 0:
    their gradients count in the norm for clipping and update the moments, but
    the weights do not change. For any optimizer and any parameter groups, the
    weights are copied before each step and restored after it.

    Args:
        num_epochs: Number of epochs in which the layers are frozen; it may be
            a fraction.
        by_rate: Whether to freeze by rate rather than by gradient.

    Raises:
        ValueError: If ``num_epochs`` is negative.
        TypeError: At the start, if the train loop does not count epochs.
    """

    def __init__(self, num_epochs: float = 1, by_rate: bool = False) -> None:
        if num_epochs < 0:
            raise ValueError('FreezeLastLayerHook: num_epochs must be >= 0, '
                             f'got {num_epochs}')
        self.num_epochs = num_epochs
        self.by_rate = by_rate

    def before_train(self, runner: Runner) -> None:
        """Register hooks on the optimizer's step."""
        require_epochs(runner, self)
        num_iters = round(self.num_epochs * len(runner.train_dataloader))
        heads = dino_model(runner).heads
        params = [p for head in heads for p in head.last_layer.parameters()]
        kept: list[Tensor] = []

        def before_step(optimizer: Optimizer, args: tuple,
                        kwargs: dict) -> None:
            if runner.iter >= num_iters:
                return
            if self.by_rate:
                kept[:] = [p.detach().clone() for p in params]
                return
            for param in params:
                param.grad = None

        def after_step(optimizer: Optimizer, args: tuple,
                       kwargs: dict) -> None:
            for param, before in zip(params, kept):
                param.data.copy_(before)
            kept.clear()

        optimizer = runner.optim_wrapper.optimizer
        self._handles = [
            optimizer.register_step_pre_hook(before_step),
            optimizer.register_step_post_hook(after_step)
        ]

    def after_train(self, runner: Runner) -> None:
        """Remove the hooks from the optimizer."""
        for handle in self._handles:
            handle.remove()
