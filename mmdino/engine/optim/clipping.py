"""Gradient clipping by parameter (DINO) or by network (DINOv2)."""
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn as nn
from mmengine.dist import all_reduce
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import Tensor

from mmdino.registry import OPTIM_WRAPPERS


@torch.no_grad()
def clip_each_grad_norm_(grads: list[Tensor],
                         max_norm: float,
                         norms: list[Tensor] | None = None) -> list[Tensor]:
    """Clip each gradient on its own to an L2 norm of at most ``max_norm``.

    The factor is max_norm / (norm + 1e-6), but at most 1.

    Args:
        grads: Changed in place.
        max_norm: Largest norm.
        norms: Norms of the whole gradients, of shape (), if ``grads`` are
            shards; by default they are computed.

    Returns:
        The norms before clipping, of shape ().
    """
    norms = torch._foreach_norm(grads) if norms is None else norms
    factors = torch._foreach_add(norms, 1e-6)
    torch._foreach_reciprocal_(factors)
    torch._foreach_mul_(factors, max_norm)
    torch._foreach_clamp_max_(factors, 1.)
    torch._foreach_mul_(grads, factors)
    return norms


@torch.no_grad()
def scale_to_norm_(grads: list[Tensor], norm: Tensor, max_norm: float) -> None:
    """Scale gradients of total norm ``norm`` to at most ``max_norm``.

    The factor is max_norm / (norm + 1e-6), but at most 1.

    Args:
        grads: Changed in place.
        norm: Their total L2 norm, of shape ().
        max_norm: Largest total norm.
    """
    if grads:
        factor = (max_norm / (norm + 1e-6)).clamp(max=1.)
        torch._foreach_mul_(grads, factor)


@torch.no_grad()
def total_norm(params: list[Tensor], is_sharded: bool = False) -> Tensor:
    """Compute the L2 norm of all gradients, of shape (), on their device.

    Args:
        params: Parameters; those without a gradient count as 0.
        is_sharded: Whether a rank holds only shards of them.
    """
    grads = [p.grad for p in params if p.grad is not None]
    norm = torch.stack(
        torch._foreach_norm(grads)).norm() if grads else (params[0].new_zeros(
            ()))
    if is_sharded:
        norm = norm.square()
        all_reduce(norm)
        norm = norm.sqrt()
    return norm


@torch.no_grad()
def norms_of_pieces(params: list[Tensor]) -> list[Tensor]:
    """Compute the L2 norms of gradients that are sharded over the ranks."""
    squares = torch.stack([
        p.new_zeros(()) if p.grad is None else p.grad.norm().square()
        for p in params
    ])
    all_reduce(squares)
    return list(squares.sqrt())


@torch.no_grad()
def norms_of_networks(networks: list[list[Tensor]],
                      is_sharded: bool = False) -> list[Tensor]:
    """Compute the L2 norm of all gradients of each network.

    Args:
        networks: Parameters of each network; those without a gradient count
            as 0.
        is_sharded: Whether a rank holds only shards of them.

    Returns:
        The norms, of shape ().
    """
    norms = torch.stack([total_norm(params) for params in networks])
    if is_sharded:
        norms = norms.square()
        all_reduce(norms)
        norms = norms.sqrt()
    return list(norms)


# Settings of torch's clipping that this one has anyway.
IMPLIED = dict(type='norm', norm_type=2, error_if_nonfinite=False)


def max_norm_alone(clip_grad: dict) -> dict[str, float]:
    """Return ``clip_grad`` without settings that change nothing here.

    OpenMMLab's configs often say ``norm_type=2``, which is the only norm here.

    Args:
        clip_grad: Settings, of which ``max_norm`` is needed.

    Returns:
        A dict with ``max_norm``.

    Raises:
        ValueError: If ``max_norm`` is missing or not positive, or another
            setting asks for what this clipping does not do.
    """
    remedy = ("set clip_grad=dict(max_norm=...), or use torch's clipping with "
              "optim_wrapper.type='OptimWrapper'.")
    for key, value in clip_grad.items():
        if key != 'max_norm' and not (key in IMPLIED
                                      and value == IMPLIED[key]):
            raise ValueError(
                f'optim_wrapper.clip_grad.{key}={value!r}: clipping by '
                f'parameter or by network has max_norm alone; {remedy}')
    if 'max_norm' not in clip_grad:
        raise ValueError(
            f'optim_wrapper.clip_grad={dict(clip_grad)} has no max_norm: '
            f'{remedy}')
    max_norm = clip_grad['max_norm']
    if not max_norm > 0:
        raise ValueError('optim_wrapper.clip_grad.max_norm must be > 0, '
                         f'got {max_norm}; for no clipping set '
                         'clip_grad=None')
    return dict(max_norm=max_norm)


class ClipMixin:
    """Base class of optimizer wrappers with ``clip_grad=dict(max_norm=c)``.

    Subclasses define ``_clip_grad``, which sets ``grad_norm``.
    :class:`.LateRuntimeInfoHook` logs it.

    Attributes:
        grad_norm (Tensor, optional): L2 norm, of shape (), of all gradients of
            the last step before clipping; None if nothing was clipped.
        is_sharded (bool): Whether a rank holds only shards of the parameters;
            :class:`.FSDPStrategy` sets it.

    Raises:
        ValueError: As :func:`max_norm_alone`.
    """

    is_sharded = False

    def __init__(self, *args, clip_grad: dict | None = None, **kwargs) -> None:
        if clip_grad is not None:
            clip_grad = max_norm_alone(clip_grad)
        super().__init__(*args, clip_grad=clip_grad, **kwargs)
        self.grad_norm: Tensor | None = None

    def step(self, **kwargs) -> None:
        """Clip the gradients and make a step."""
        self.grad_norm = None
        super().step(**kwargs)


class PerParameterClipMixin(ClipMixin):
    """``clip_grad=dict(max_norm=c)`` clips each parameter by itself.

    This is the clipping of DINO, see :func:`clip_each_grad_norm_`.
    """

    def _clip_grad(self) -> None:
        params = [
            p for group in self.optimizer.param_groups for p in group['params']
        ]
        whole = norms_of_pieces(params) if self.is_sharded else None
        norms = whole and [
            n for p, n in zip(params, whole) if p.grad is not None
        ]
        grads = [p.grad for p in params if p.grad is not None]
        if grads:
            norms = clip_each_grad_norm_(
                grads, norms=norms, **self.clip_grad_kwargs)
            self.grad_norm = torch.stack(whole or norms).norm()


class PerNetworkClipMixin(ClipMixin):
    """``clip_grad=dict(max_norm=c)`` clips by the norm of each network.

    This is the clipping of DINOv2, whose networks are the backbone, the class
    head and, if there is one, the patch head. See :func:`scale_to_norm_`.

    Attributes:
        networks (dict[str, list[Tensor]]): The trained parameters of each
            part of the model. The constructors of mmdino set it.

    Raises:
        ValueError: At a step, if ``networks`` is not set.
    """
    networks: dict[str, list[Tensor]] | None = None

    def _clip_grad(self) -> None:
        if self.networks is None:
            raise ValueError(
                f'{type(self).__name__} does not know the parts of the model, '
                'which only constructors of mmdino tell it: set '
                "optim_wrapper.constructor='MergedGroupsConstructor' or "
                "'LayerDecayConstructor'.")
        networks = [*self.networks.values()]
        norms = norms_of_networks(networks, self.is_sharded)
        for norm, params in zip(norms, networks):
            grads = [p.grad for p in params if p.grad is not None]
            scale_to_norm_(grads, norm, **self.clip_grad_kwargs)
        self.grad_norm = torch.stack(norms).norm()


@OPTIM_WRAPPERS.register_module()
class PerParameterClipOptimWrapper(PerParameterClipMixin, OptimWrapper):
    """MMEngine's ``OptimWrapper`` with per-parameter clipping."""


@OPTIM_WRAPPERS.register_module()
class PerParameterClipAmpOptimWrapper(PerParameterClipMixin, AmpOptimWrapper):
    """MMEngine's ``AmpOptimWrapper`` with per-parameter clipping.

    Gradients are unscaled before they are clipped.
    """


@OPTIM_WRAPPERS.register_module()
class PerNetworkClipOptimWrapper(PerNetworkClipMixin, OptimWrapper):
    """MMEngine's ``OptimWrapper`` with clipping by network."""


@OPTIM_WRAPPERS.register_module()
class PerNetworkClipAmpOptimWrapper(PerNetworkClipMixin, AmpOptimWrapper):
    """MMEngine's ``AmpOptimWrapper`` with clipping by network.

    Gradients are unscaled before they are clipped.
    """


def has_bf16_units(device: torch.device) -> bool:
    """Return whether a device computes bfloat16 in hardware."""
    if device.type == 'cuda':
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type != 'cpu' or torch.ops.mkldnn._is_mkldnn_bf16_supported()


class _BFloat16OptimWrapper(OptimWrapper):
    """Optimizer wrapper with the forward pass under bfloat16 autocast.

    It works on GPUs and, unlike MMEngine's ``AmpOptimWrapper``, on CPUs. It
    warns if the device has no hardware for bfloat16: a step then takes many
    times as long as in float32.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._checked = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the model in mixed precision."""
        device = next(model.parameters()).device
        if not self._checked:
            self._checked = True
            _warn_without_units(device)
        with super().optim_context(model), torch.autocast(
                device.type, torch.bfloat16):
            yield


@OPTIM_WRAPPERS.register_module()
class PerParameterClipBFloat16OptimWrapper(PerParameterClipMixin,
                                           _BFloat16OptimWrapper):
    """Per-parameter clipping with bfloat16 autocast.

    See :class:`_BFloat16OptimWrapper`.
    """


@OPTIM_WRAPPERS.register_module()
class PerNetworkClipBFloat16OptimWrapper(PerNetworkClipMixin,
                                         _BFloat16OptimWrapper):
    """Clipping by network with bfloat16 autocast.

    See :class:`_BFloat16OptimWrapper`.
    """


def _warn_without_units(device: torch.device) -> None:
    if not has_bf16_units(device):
        print_log(
            f'This {device.type} has no hardware for bfloat16 and emulates '
            'it, many times slower than float32: use an optim_wrapper.type '
            "without BFloat16, such as 'PerParameterClipOptimWrapper'.",
            logger='current',
            level=logging.WARNING)
