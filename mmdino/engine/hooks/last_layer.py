"""Prototypes that stay frozen at first (Caron et al. 2021, App. C)."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Optimizer

from mmdino.engine.hooks.access import dino_model, require_epochs
from mmdino.registry import HOOKS


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
