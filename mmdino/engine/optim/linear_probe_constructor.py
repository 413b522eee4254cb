"""A learning rate for each head of a linear probe."""
import torch.nn as nn
from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper

from mmdino.registry import (OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS,
                             OPTIMIZERS)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LinearProbeConstructor(DefaultOptimWrapperConstructor):
    """One parameter group a head of :class:`LinearProbe`, with its own lr.

    The optimizer's config has no ``lr``: the model's ``learning_rates`` are
    the only ones.

    Raises:
        ValueError: If the optimizer's config has an ``lr``.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of the heads; the backbone is not in it."""
        if 'lr' in self.optimizer_cfg:
            raise ValueError(
                f'optim_wrapper.optimizer.lr={self.optimizer_cfg["lr"]} has '
                'no effect on a linear probe: set model.learning_rates.')
        probe = model.module if is_model_wrapper(model) else model
        groups = [
            dict(params=list(head.parameters()), lr=lr)
            for lr, head in zip(probe.learning_rates, probe.heads)
        ]
        optimizer = OPTIMIZERS.build(dict(self.optimizer_cfg, params=groups))
        return OPTIM_WRAPPERS.build(
            dict(self.optim_wrapper_cfg, optimizer=optimizer))
