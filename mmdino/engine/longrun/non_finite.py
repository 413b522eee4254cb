"""What happens to a step whose loss or gradient is not finite."""
import os.path as osp
from typing import Any, Dict, List, Optional

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmdino.engine.hooks.access import dino_model, whole_state
from mmdino.engine.longrun.replay import Step
from mmdino.models import DINO
from mmdino.registry import HOOKS

ACTIONS = ('stop', 'skip')


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stop before a non-finite loss or gradient is stepped on, or skip it.

    On that of any rank every rank writes ``nonfinite_iter<N>_rank<R>.pth``
    to the work dir, from which ``tools/replay_dump.py`` repeats the step; of
    skipped ones the first of the run alone. A skipped step leaves the
    student, the optimizer's moments, the centre and the statistics of
    BatchNorm as they were.

    Infinite gradients in mixed precision are the GradScaler's, which skips
    them itself. With accumulated gradients the file holds the last of the
    step's batches.

    Args:
        action (str): 'stop' or 'skip'.
        max_skips (int): Steps skipped in a row before it stops all the same.

    Raises:
        ValueError: If the action is another or ``max_skips`` below 1.
        FloatingPointError: In training.
    """
    priority = 'ABOVE_NORMAL'  # before the centre moves

    def __init__(self, action: str = 'stop', max_skips: int = 10) -> None:
        if action not in ACTIONS:
            raise ValueError(f'NonFiniteHook: action must be one of {ACTIONS},'
                             f' got {action!r}')
        if max_skips < 1:
            raise ValueError('NonFiniteHook: max_skips must be >= 1, got '
                             f'{max_skips}')
        self.allowed = max_skips if action == 'skip' else 0
        self._skipped = 0
        self._is_lost = False  # the step under way
        self._has_dumped = False

    def before_train(self, runner: Runner) -> None:
        """Watch the model's forward and the optimizer's step."""
        model, optimizer = dino_model(runner), runner.optim_wrapper.optimizer
        step = Step()

        def before_forward(module: DINO, args: tuple) -> None:
            step.begin(module)
            self._buffers = [b.clone() for b in module.buffers()
                             ] if self.allowed else []

        def after_forward(module: DINO, args: tuple, kwargs: Dict[str, Any],
                          output: Any) -> None:
            if kwargs.get('mode') != 'loss':
                return
            step.end(kwargs['inputs'], output['loss'])
            if _any_lost([output['loss'].detach()]):
                self._lost(runner, step, f'the loss is {output["loss"]:g}')

        def before_step(optimizer: Any, args: tuple, kwargs: dict) -> None:
            params = _with_gradients(optimizer)
            if _any_lost([p.grad for p in params]) and not self._is_lost:
                self._lost(runner, step, 'a gradient is not finite')
            if self._is_lost:
                for param in params:  # the optimizer then passes it by
                    param.grad = None

        self._handles = [
            model.register_forward_pre_hook(before_forward),
            model.register_forward_hook(after_forward, with_kwargs=True),
            optimizer.register_step_pre_hook(before_step)
        ]

    def after_train(self, runner: Runner) -> None:
        """Leave the model and the optimizer as they were."""
        for handle in self._handles:
            handle.remove()

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Undo what the forward pass of a lost step has changed."""
        if self._is_lost:
            model = dino_model(runner)
            for buffer, before in zip(model.buffers(), self._buffers):
                buffer.copy_(before)
            model.centering.discard()
        if runner.optim_wrapper.should_update():
            self._skipped = self._skipped if self._is_lost else 0
            self._is_lost = False

    def _lost(self, runner: Runner, step: Step, what: str) -> None:
        """Dump, then stop or go on without the step."""
        self._is_lost = True
        self._skipped += 1
        stops = self._skipped > self.allowed
        path = osp.join(
            runner.work_dir,
            f'nonfinite_iter{runner.iter + 1}_rank{get_rank()}.pth')
        message = f'Iteration {runner.iter + 1}: {what} on rank {get_rank()}'
        if stops or not self._has_dumped:
            model = dino_model(runner)
            step.save(path, runner.cfg, whole_state(model),
                      model.centering.temperature, runner.iter + 1)
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


def _with_gradients(optimizer: torch.optim.Optimizer) -> List[Tensor]:
    return [
        p for group in optimizer.param_groups for p in group['params']
        if p.grad is not None
    ]


def _any_lost(tensors: List[Tensor]) -> bool:
    """Whether a value of any rank is not finite."""
    norms = torch._foreach_norm(tensors) if tensors else [torch.zeros(())]
    lost = (~torch.stack(norms).isfinite()).any().to(torch.int32)
    all_reduce(lost, op='max')
    return bool(lost)
