"""Handling of steps whose loss or gradient is not finite."""
import math
import os.path as osp
from typing import Any, NamedTuple

import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor
from torch.optim import Adam, Optimizer

from mmdino.engine.hooks.access import dino_model, whole_state
from mmdino.engine.hooks.runtime_info import HostCopy
from mmdino.engine.longrun.replay import Step
from mmdino.engine.optim.clipping import total_norm
from mmdino.models import MeanTeacher, total_loss
from mmdino.registry import HOOKS

ACTIONS = ('stop', 'skip')
# So often the largest scale of float32 can be halved before it is below 1.
MAX_OVERFLOWS = 128


class Outcome(NamedTuple):
    """The figures of an optimizer step."""
    iteration: int  # counted from 1
    step: Step
    teacher_temp: float | None
    figures: HostCopy  # loss, norm of gradients, is lost, has overflowed


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stop at a loss or gradient that is not finite, or skip the step.

    The device passes such a step by itself: the student, the optimizer's
    moments, the teacher, the centre and the statistics of BatchNorm stay as
    they were when the step began, with accumulated gradients at the first of
    its batches. The host hears of it one step later and never waits. Only
    fused Adam and AdamW can do so; before any other optimizer steps, the host
    waits for the verdict.

    Every rank then writes ``nonfinite_iter<N>_rank<R>.pth`` to the work dir,
    from which ``tools/replay_dump.py`` repeats the step; of skipped ones the
    first of the run alone. With accumulated gradients the file holds the last
    of the step's batches.

    In mixed precision gradients may overflow by the loss scale. That is the
    GradScaler's business: it leaves out the optimizer's step and lowers the
    scale; teacher, centre and schedules move on, as in the authors' code. An
    overflow that no scale ends is not.

    Args:
        action: 'stop' or 'skip'.
        max_skips: Steps skipped in a row before it stops all the same.

    Raises:
        ValueError: If the action is another or ``max_skips`` below 1.
        FloatingPointError: In training.
    """
    priority = 'BELOW_NORMAL'  # after the centre has moved

    def __init__(self, action: str = 'stop', max_skips: int = 10) -> None:
        if action not in ACTIONS:
            raise ValueError(f'NonFiniteHook: action must be one of {ACTIONS},'
                             f' got {action!r}')
        if max_skips < 1:
            raise ValueError('NonFiniteHook: max_skips must be >= 1, got '
                             f'{max_skips}')
        self.allowed = max_skips if action == 'skip' else 0
        self._skipped = 0
        self._overflows = 0  # in a row
        self._has_dumped = False

    def before_train(self, runner: Runner) -> None:
        """Register hooks on the model's forward and the optimizer's step."""
        model, wrapper = dino_model(runner, MeanTeacher), runner.optim_wrapper
        self._outcome: Outcome | None = None  # not heard of yet
        # As the step under way found them; None before it.
        self._buffers: list[Tensor] | None = None
        self._has_stepped = False
        # Listed once: to walk through all modules takes longer than to copy.
        self._holders = [m._buffers for m in model.modules() if m._buffers]

        def before_forward(module: MeanTeacher, args: tuple,
                           kwargs: dict[str, Any]) -> None:
            if kwargs.get('mode') != 'loss':
                return
            self._step = Step()
            self._step.begin(module)
            if self._buffers is None:
                self._buffers = [b.clone() for b in self._all_buffers()]
                device = next(module.parameters()).device
                module.step_is_lost = torch.zeros((),
                                                  dtype=torch.bool,
                                                  device=device)

        def after_forward(module: MeanTeacher, args: tuple,
                          kwargs: dict[str, Any], output: Any) -> None:
            if kwargs.get('mode') == 'loss':
                self._step.end(kwargs['inputs'], total_loss(output))

        def before_step(optimizer: Optimizer, args: tuple,
                        kwargs: dict) -> None:
            self._hear(runner)
            self._has_stepped = True
            norm = _norm(wrapper)
            overflow = getattr(optimizer, 'found_inf', None)
            if overflow is None:
                model.step_is_lost = model.step_is_lost | ~norm.isfinite()
            self._note(runner, norm, overflow)
            lost = model.step_is_lost.float()
            bad = lost if overflow is None else torch.maximum(lost, overflow)
            self._passes_by = _is_fused_adam(optimizer)
            if self._passes_by:
                self._had_scaler = overflow is not None
                optimizer.found_inf = bad
            else:
                self._hear(runner)
                if bad:
                    _drop_gradients(optimizer)

        def after_step(optimizer: Optimizer, args: tuple,
                       kwargs: dict) -> None:
            # A GradScaler removes it by itself.
            if self._passes_by and not self._had_scaler:
                del optimizer.found_inf

        optimizer = wrapper.optimizer
        self._handles = [
            model.register_forward_pre_hook(before_forward, with_kwargs=True),
            model.register_forward_hook(after_forward, with_kwargs=True),
            optimizer.register_step_pre_hook(before_step),
            optimizer.register_step_post_hook(after_step)
        ]

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Restore the buffers that a lost step has changed, on the device."""
        if not runner.optim_wrapper.should_update():
            return
        if not self._has_stepped:  # its scaler kept the optimizer from it
            self._hear(runner)
            self._note(runner, *2 * [self._step.loss.new_full((), math.inf)])
        lost = dino_model(runner, MeanTeacher).step_is_lost
        for buffer, before in zip(self._all_buffers(), self._buffers):
            buffer.copy_(torch.where(lost, before, buffer))
        self._buffers, self._has_stepped = None, False

    def after_train_epoch(self, runner: Runner) -> None:
        """Check the last step before the epoch's checkpoint."""
        self._hear(runner)

    def after_train(self, runner: Runner) -> None:
        """Remove the hooks from the model and the optimizer."""
        self._hear(runner)
        for handle in self._handles:
            handle.remove()
        dino_model(runner, MeanTeacher).step_is_lost = None

    def _all_buffers(self) -> list[Tensor]:
        """Return the buffers of all modules, as they are now."""
        return [
            buffer for holder in self._holders for buffer in holder.values()
            if buffer is not None
        ]

    def _note(self, runner: Runner, norm: Tensor,
              overflow: Tensor | None) -> None:
        """Copy the figures of this step to the host, without waiting."""
        model, loss = dino_model(runner, MeanTeacher), self._step.loss
        temperature = next((c.temperature for c in model.centerings), None)
        overflow = loss.new_zeros(()) if overflow is None else overflow
        figures = [loss, norm, model.step_is_lost, overflow]
        self._outcome = Outcome(runner.iter + 1, self._step, temperature,
                                HostCopy([f.reshape(()) for f in figures]))

    def _hear(self, runner: Runner) -> None:
        """Read the figures of the last step and act on them."""
        outcome, self._outcome = self._outcome, None
        if outcome is None:
            return
        loss, norm, is_lost, overflow = outcome.figures.read()
        self._overflows = self._overflows + 1 if overflow else 0
        if is_lost:
            self._lost(runner, outcome, _cause(loss, norm))
        elif self._overflows > MAX_OVERFLOWS:
            self._lost(
                runner, outcome, f'{self._overflows} steps in a row have '
                'gradients that are not finite, at any loss scale,')
        else:
            self._skipped = 0

    def _lost(self, runner: Runner, outcome: Outcome, what: str) -> None:
        """Write a dump, then raise an error or continue without the step."""
        self._skipped += 1
        stops = self._skipped > self.allowed
        iteration = outcome.iteration
        path = osp.join(runner.work_dir,
                        f'nonfinite_iter{iteration}_rank{get_rank()}.pth')
        message = f'Iteration {iteration}: {what} on rank {get_rank()}'
        if stops or not self._has_dumped:
            outcome.step.save(path, runner.cfg,
                              whole_state(dino_model(runner, MeanTeacher)),
                              outcome.teacher_temp, iteration)
            self._has_dumped = True
            message += (f'; `python tools/replay_dump.py {path}` repeats the '
                        'step')
        if stops:
            raise FloatingPointError(
                f'{message}. Lower the learning rate, clip the gradients, or '
                'train without --amp; the last checkpoint is intact. To pass '
                'such steps by, set '
                'default_hooks.nonfinite.action=skip.')
        runner.logger.warning(f'{message}. Skipped, {self._skipped} in a row.')


def _cause(loss: float, norm: float) -> str:
    if not math.isfinite(loss):
        return f'the loss is {loss:g}'
    if not math.isfinite(norm):
        return 'a gradient is not finite'
    return 'the loss of another process is not finite, seen'


def _norm(wrapper: OptimWrapper) -> Tensor:
    """Return the norm of all gradients, the wrapper's if it has clipped them.
    """
    if getattr(wrapper, 'grad_norm', None) is not None:
        return wrapper.grad_norm
    params = [p for group in wrapper.param_groups for p in group['params']]
    return total_norm(params, getattr(wrapper, 'is_sharded', False))


def _is_fused_adam(optimizer: Optimizer) -> bool:
    """Return whether the optimizer skips a step on the device.

    That is, where ``found_inf`` is not 0.

    Fused SGD does, too, but then keeps momenta that nobody has set.
    """
    return isinstance(optimizer, Adam) and optimizer.defaults['fused']


def _drop_gradients(optimizer: Optimizer) -> None:
    """Remove all gradients, so that the optimizer changes no parameter."""
    for group in optimizer.param_groups:
        for param in group['params']:
            param.grad = None
