"""Logging of the losses of a step without waiting for the GPU."""
from collections import deque
from typing import Any

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from mmdino.engine.optim.clipping import ClipMixin
from mmdino.registry import HOOKS


class HostCopy:
    """Scalars that are copied to the CPU while the device continues.

    All scalars are copied at once, and the CPU waits for the copy only in
    :meth:`read`.

    Args:
        scalars: Tensors of shape (), on one device, of any dtype. Later
            changes of them have no effect on the copy.
    """

    def __init__(self, scalars: list[Tensor]) -> None:
        values = torch.stack([value.detach().double() for value in scalars])
        self._values = values.to('cpu', non_blocking=True)  # to pinned memory
        self._arrived = None
        if values.is_cuda:
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def read(self) -> list[float]:
        """Return the values; wait for them if they have not arrived."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._values.tolist()


@HOOKS.register_module()
class LateRuntimeInfoHook(RuntimeInfoHook):
    """MMEngine's ``RuntimeInfoHook`` that logs losses one step later.

    MMEngine waits for the device for each loss of each step. Here the scalars
    of a step are copied to the CPU at once, without waiting, and are logged
    one step later, or immediately in an iteration that the logger prints. If
    mmdino's optim wrappers clip the gradients, their total norm is logged as
    ``grad_norm``.
    """

    def before_train(self, runner: Runner) -> None:
        """Start with an empty queue of copies."""
        super().before_train(runner)
        self._copies: deque[tuple[list[str], HostCopy]] = deque()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Copy the scalars of this step to the CPU and log earlier ones."""
        figures = _scalar_tensors(runner, outputs or {})
        others = {k: v for k, v in (outputs or {}).items() if k not in figures}
        super().after_train_iter(runner, batch_idx, data_batch, others)
        if figures:
            self._copies.append(
                (list(figures), HostCopy(list(figures.values()))))
        self._log(runner, keep=0 if _prints(runner, batch_idx) else 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Log the remaining scalars before the epoch's checkpoint."""
        self._log(runner, keep=0)

    def after_train(self, runner: Runner) -> None:
        """Log the remaining scalars."""
        self._log(runner, keep=0)
        super().after_train(runner)

    def _log(self, runner: Runner, keep: int) -> None:
        while len(self._copies) > keep:
            names, copy = self._copies.popleft()
            for name, value in zip(names, copy.read()):
                runner.message_hub.update_scalar(f'train/{name}', value)


def _scalar_tensors(runner: Runner,
                    outputs: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the scalars of a step on the device, and its gradient norm."""
    figures = {k: v for k, v in outputs.items() if torch.is_tensor(v)}
    wrapper = runner.optim_wrapper
    if (isinstance(wrapper, ClipMixin) and wrapper.grad_norm is not None
            and wrapper.should_update()):
        figures['grad_norm'] = wrapper.grad_norm
    return {name: value.reshape(()) for name, value in figures.items()}


def _prints(runner: Runner, batch_idx: int) -> bool:
    """Return whether a logger prints this iteration."""
    return any(
        hook.every_n_inner_iters(batch_idx, hook.interval)
        or hook.end_of_epoch(runner.train_dataloader, batch_idx)
        for hook in runner.hooks if isinstance(hook, LoggerHook))
