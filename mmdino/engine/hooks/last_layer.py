"""No training of the prototypes at first (Caron et al. 2021, App. C)."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.hooks.access import dino_model, require_epochs
from mmdino.registry import HOOKS


@HOOKS.register_module()
class FreezeLastLayerHook(Hook):
    """Drop the student's last-layer gradients in the first epochs.

    They are dropped just before the optimizer steps, after unscaling and
    clipping, so that the optimizer skips the layer wholly: no update, no
    weight decay, no moments. Toggling ``requires_grad`` would break DDP.

    Args:
        num_epochs (int): Epochs without training of the last layer.

    Raises:
        ValueError: If ``num_epochs`` is negative.
    """

    def __init__(self, num_epochs: int = 1) -> None:
        if num_epochs < 0:
            raise ValueError('FreezeLastLayerHook: num_epochs must be >= 0, '
                             f'got {num_epochs}')
        self.num_epochs = num_epochs

    def before_train(self, runner: Runner) -> None:
        """Hook into the optimizer."""
        require_epochs(runner, self)
        last_layer = dino_model(runner).head.last_layer

        def drop_gradients(optimizer, args, kwargs) -> None:
            if runner.epoch < self.num_epochs:
                last_layer.zero_grad(set_to_none=True)

        self._handle = runner.optim_wrapper.optimizer.register_step_pre_hook(
            drop_gradients)

    def after_train(self, runner: Runner) -> None:
        """Leave the optimizer as it was."""
        self._handle.remove()
