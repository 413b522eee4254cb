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
# The largest loss scale in float32 is below 1 after so many halvings.
MAX_OVERFLOWS = 128


class Outcome(NamedTuple):
    """The results of an optimizer step."""
    iteration: int  # counted from 1
    step: Step  # record to repeat it
    teacher_temp: float | None  # None without centerings
    figures: HostCopy  # loss, gradient norm, whether lost, whether overflowed


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stop at a loss or gradient that is not finite, or skip the step.

    Such a step changes nothing: the student, the optimizer's moments, the
    teacher, the centre and the statistics of BatchNorm keep the values from
    before the step (with accumulated gradients, from before the first of its
    batches). With fused Adam or AdamW the GPU skips the step itself, and the
    CPU reads the result one step later without waiting. With other optimizers
    the CPU waits for the result before each step.

    Every rank then writes ``nonfinite_iter<N>_rank<R>.pth`` to the work dir,
    from which ``tools/replay_dump.py`` repeats the step. If steps are skipped,
    this is done for the first one of the run only. With accumulated gradients
    the file holds the last batch of the step.

    In mixed precision, gradients may overflow because of the loss scale. The
    GradScaler then skips the optimizer's step and lowers the scale. This is
    not an error, and the teacher, the centre and the schedules move on, as in
    the code of DINO's authors. It becomes an error when gradients overflow in
    more than 128 steps in a row, that is at any loss scale.

    Args:
        action: 'stop' raises an error at such a step, 'skip' continues.
        max_skips: Largest number of steps that are skipped in a row before an
            error is raised.

    Raises:
        ValueError: If ``action`` is neither of the two, or ``max_skips`` is
            below 1.
        FloatingPointError: In training, at such a step.
    """
    priority = 'BELOW_NORMAL'  # after the centre is updated

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
        self._outcome: Outcome | None = None  # of a step, until it is read
        # Copies from before the current step; None between two steps.
        self._buffers: list[Tensor] | None = None
        self._has_stepped = False
        # Listed once, since visiting all modules takes longer than copying.
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
            # A GradScaler removes its own found_inf.
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
        if not self._has_stepped:  # the GradScaler has skipped the step
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
        """Return the current buffers of all modules."""
        return [
            buffer for holder in self._holders for buffer in holder.values()
            if buffer is not None
        ]

    def _note(self, runner: Runner, norm: Tensor,
              overflow: Tensor | None) -> None:
        """Copy the results of this step to the CPU, without waiting."""
        model, loss = dino_model(runner, MeanTeacher), self._step.loss
        temperature = next((c.temperature for c in model.centerings), None)
        overflow = loss.new_zeros(()) if overflow is None else overflow
        figures = [loss, norm, model.step_is_lost, overflow]
        self._outcome = Outcome(runner.iter + 1, self._step, temperature,
                                HostCopy([f.reshape(()) for f in figures]))

    def _hear(self, runner: Runner) -> None:
        """Read the results of the last step and act on them."""
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
                'gradients that are not finite at any loss scale,')
        else:
            self._skipped = 0

    def _lost(self, runner: Runner, outcome: Outcome, what: str) -> None:
        """Write a dump of a lost step, then raise an error or continue."""
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
            message += (f' (`python tools/replay_dump.py {path}` repeats the '
                        'step)')
        if stops:
            raise FloatingPointError(
                f'{message}. Lower the learning rate, clip the gradients, or '
                'train without --amp; the last checkpoint is intact. To skip '
                'such steps, set default_hooks.nonfinite.action=skip.')
        runner.logger.warning(f'{message}. The step is skipped, '
                              f'{self._skipped} in a row.')


def _cause(loss: float, norm: float) -> str:
    if not math.isfinite(loss):
        return f'the loss is {loss:g}'
    if not math.isfinite(norm):
        return 'a gradient is not finite'
    return 'the loss of another process is not finite, noticed'


def _norm(wrapper: OptimWrapper) -> Tensor:
    """Return the norm of all gradients, before clipping; shape ()."""
    if getattr(wrapper, 'grad_norm', None) is not None:
        return wrapper.grad_norm
    params = [p for group in wrapper.param_groups for p in group['params']]
    return total_norm(params, getattr(wrapper, 'is_sharded', False))


def _is_fused_adam(optimizer: Optimizer) -> bool:
    """Return whether the optimizer can skip a step on the device.

    Fused Adam and AdamW do so if their ``found_inf`` is not 0. Fused SGD does
    as well, but it then stores momenta that are not initialised.
    """
    return isinstance(optimizer, Adam) and optimizer.defaults['fused']


def _drop_gradients(optimizer: Optimizer) -> None:
    """Remove all gradients, so that the optimizer changes no parameter."""
    for group in optimizer.param_groups:
        for param in group['params']:
            param.grad = None
