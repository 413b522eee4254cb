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
    """Freeze the student's backbone for the first epochs.

    For weights that come without heads: the gradients of random ones would
    spoil them. Those of the backbone are dropped just before the optimizer
    steps, which leaves no trace in weights, decay and moments. Then its rates
    rise linearly to what the schedule says of them. Toggling
    ``requires_grad`` would break DDP.

    Args:
        num_iters: Iterations without training of the backbone; below 1 it is
            this share of the whole training.
        warmup_iters: Iterations in which its rates rise, likewise.

    Raises:
        ValueError: If a number is negative; at the start, if nothing of the
            training is left for the backbone, or the rates cannot rise alone
            since a group of parameters holds others as well.
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
        """Register a hook on the optimizer's step."""
        frozen, rising = (
            round(n * runner.max_iters) if n < 1 else round(n)
            for n in (self.num_iters, self.warmup_iters))
        if frozen >= runner.max_iters:
            raise ValueError(
                f'FreezeBackboneHook: num_iters={self.num_iters} keeps the '
                f'backbone frozen for all {runner.max_iters} iterations: '
                'lower it, or train for longer (train_cfg.max_epochs).')
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
            f'The backbone stays as it is for {frozen} of {runner.max_iters} '
            f'iterations, and its rates rise in the {rising} after them.')

    def after_train(self, runner: Runner) -> None:
        """Remove the hook from the optimizer."""
        for handle in self._handles:
            handle.remove()


def _groups_of(params: list, optimizer: Optimizer) -> list[dict]:
    """Return the parameter groups that hold exactly these parameters."""
    own = {id(param) for param in params}
    groups = []
    for group in optimizer.param_groups:
        inside = {id(param) for param in group['params']}
        if inside & own and inside - own:
            raise ValueError(
                'FreezeBackboneHook: the optimizer has the backbone and other '
                'parts in one group, so that its rates cannot rise alone: give'
                " it rates of its own, by constructor='LayerDecayConstructor' "
                'and paramwise_cfg.backbone_lr_mult, or set warmup_iters=0.')
        if inside & own:
            groups.append(group)
    return groups


@HOOKS.register_module()
class FreezeLastLayerHook(Hook):
    """Freeze the last layers of the student's heads for the first epochs.

    By gradient, as DINO does: gradients are dropped just before the optimizer
    steps, after unscaling and clipping, so that it skips the layers wholly:
    no update, no weight decay, no moments. Toggling ``requires_grad`` would
    break DDP.

    By rate, as DINOv2 does, whose learning rate of these layers is 0: their
    gradients count in the norm that is clipped and fill the moments, while
    weights stay. They are put back after the step, which takes a copy of
    them during it, whatever the optimizer and its groups are.

    Args:
        num_epochs: Epochs without training of the last layers, a fraction for
            so many iterations.
        by_rate: By rate rather than by gradient.

    Raises:
        ValueError: If ``num_epochs`` is negative.
    """

    def __init__(self, num_epochs: float = 1, by_rate: bool = False) -> None:
        if num_epochs < 0:
            raise ValueError('FreezeLastLayerHook: num_epochs must be >= 0, '
                             f'got {num_epochs}')
        self.num_epochs = num_epochs
        self.by_rate = by_rate

    def before_train(self, runner: Runner) -> None:
        """Register a hook on the optimizer's step."""
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
        """Remove the hook from the optimizer."""
        for handle in self._handles:
            handle.remove()
