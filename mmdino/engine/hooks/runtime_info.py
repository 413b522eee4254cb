"""Logging of a step's figures without waiting for the device."""
from collections import deque
from typing import Any

import torch
from mmengine.hooks import LoggerHook, RuntimeInfoHook
from mmengine.runner import Runner
from torch import Tensor

from mmdino.engine.optim.clipping import ClipMixin
from mmdino.registry import HOOKS


class HostCopy:
    """Scalars that are copied to the host while the device computes on.

    All go in one copy, for which the host does not wait until it reads them.

    Args:
        scalars: On one device, of any dtype; copied as they are now.
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
    """MMEngine's ``RuntimeInfoHook`` that logs figures one step later.

    MMEngine waits for the device once for each figure of each step. Here all
    of a step go to the host in one copy that nobody waits for, and are logged
    a step later; in an iteration that the logger prints, at once. The norm of
    all gradients that a wrapper of ours has clipped is logged with them.
    """

    def before_train(self, runner: Runner) -> None:
        """Start without figures to read."""
        super().before_train(runner)
        self._copies: deque[tuple[list[str], HostCopy]] = deque()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Copy the figures of this step to the host and log earlier ones."""
        figures = _scalar_tensors(runner, outputs or {})
        others = {k: v for k, v in (outputs or {}).items() if k not in figures}
        super().after_train_iter(runner, batch_idx, data_batch, others)
        if figures:
            self._copies.append(
                (list(figures), HostCopy(list(figures.values()))))
        self._log(runner, keep=0 if _prints(runner, batch_idx) else 1)

    def after_train_epoch(self, runner: Runner) -> None:
        """Log the remaining figures before the epoch's checkpoint."""
        self._log(runner, keep=0)

    def after_train(self, runner: Runner) -> None:
        """Log the remaining figures."""
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
