"""Gradient clipping parameter by parameter, as the authors' code does."""
from typing import List

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor

from mmdino.registry import OPTIM_WRAPPERS


@torch.no_grad()
def clip_each_grad_norm_(grads: List[Tensor], max_norm: float) -> List[Tensor]:
    """Scale each gradient by itself to an L2 norm of at most ``max_norm``.

    The factor is max_norm / (norm + 1e-6), applied where it is below 1.

    Args:
        grads (list[Tensor]): Changed in place.
        max_norm (float): Largest norm.

    Returns:
        list[Tensor]: The norms before clipping, scalars.
    """
    norms = torch._foreach_norm(grads)
    factors = torch._foreach_add(norms, 1e-6)
    torch._foreach_reciprocal_(factors)
    torch._foreach_mul_(factors, max_norm)
    torch._foreach_clamp_max_(factors, 1.)
    torch._foreach_mul_(grads, factors)
    return norms


class PerParameterClipMixin:
    """``clip_grad=dict(max_norm=c)`` clips each parameter by itself.

    The norm of all gradients before clipping is logged as ``grad_norm``.

    Raises:
        ValueError: If ``max_norm`` is not positive.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        max_norm = (self.clip_grad_kwargs or {}).get('max_norm', 1.)
        if not max_norm > 0:
            raise ValueError('optim_wrapper.clip_grad.max_norm must be > 0, '
                             f'got {max_norm}; clip_grad=None clips nothing')

    def _clip_grad(self) -> None:
        grads = [
            p.grad for group in self.optimizer.param_groups
            for p in group['params'] if p.grad is not None
        ]
        if grads:
            norms = clip_each_grad_norm_(grads, **self.clip_grad_kwargs)
            self.message_hub.update_scalar('train/grad_norm',
                                           torch.stack(norms).norm())


@OPTIM_WRAPPERS.register_module()
class PerParameterClipOptimWrapper(PerParameterClipMixin, OptimWrapper):
    """MMEngine's ``OptimWrapper`` with per-parameter clipping."""


@OPTIM_WRAPPERS.register_module()
class PerParameterClipAmpOptimWrapper(PerParameterClipMixin, AmpOptimWrapper):
    """MMEngine's ``AmpOptimWrapper`` with per-parameter clipping.

    Gradients are unscaled first.
    """
