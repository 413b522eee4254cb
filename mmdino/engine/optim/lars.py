"""LARS with the authors' trust ratio."""
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.optim import Optimizer

from mmdino.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class LARS(Optimizer):
    r"""Layer-wise adaptive rate scaling, as in DINO's ResNet-50 recipe.

    .. math::
        d &= g + \lambda p, \quad q = \eta \|p\| / \|d\| \\
        \mu &\leftarrow m \mu + q d, \quad p \leftarrow p - \mathrm{lr}\, \mu

    q is 1 if either norm is 0. Parameters of one dimension have d = g and
    q = 1. mmpretrain's LARS computes another trust ratio q.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        momentum: Momentum m.
        weight_decay: Weight decay lambda.
        eta: Trust coefficient eta.

    Raises:
        ValueError: If a value is negative.
    """

    def __init__(self,
                 params: Iterable,
                 lr: float,
                 momentum: float = 0.9,
                 weight_decay: float = 0.,
                 eta: float = 0.001) -> None:
        defaults = dict(
            lr=lr, momentum=momentum, weight_decay=weight_decay, eta=eta)
        for name, value in defaults.items():
            if value < 0:
                raise ValueError(f'LARS: {name} must be >= 0, got {value}')
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable | None = None) -> Tensor | None:
        """Update every parameter that has a gradient.

        Args:
            closure: A function that computes the loss again, or None.

        Returns:
            The loss of the closure, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for param in group['params']:
                if param.grad is not None:
                    self._update(param, group)
        return loss

    def _update(self, param: Tensor, group: dict) -> None:
        delta = param.grad
        if param.ndim != 1:
            delta = delta.add(param, alpha=group['weight_decay'])
            delta = delta * trust_ratio(param, delta, group['eta'])
        state = self.state[param]
        if 'mu' not in state:
            state['mu'] = torch.zeros_like(param)
        state['mu'].mul_(group['momentum']).add_(delta)
        param.add_(state['mu'], alpha=-group['lr'])


def trust_ratio(param: Tensor, delta: Tensor, eta: float) -> Tensor:
    """Compute eta |param| / |delta|, or 1 if either norm is 0; shape ()."""
    param_norm, delta_norm = param.norm(), delta.norm()
    ratio = eta * param_norm / delta_norm
    return torch.where((param_norm > 0) & (delta_norm > 0), ratio, 1.)
