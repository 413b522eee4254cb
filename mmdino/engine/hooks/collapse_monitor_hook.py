"""Says in words when training has collapsed, and stops on a lost loss."""
import math
import os.path as osp
from typing import Optional

import torch
from mmengine.dist import all_reduce, get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.registry import HOOKS
from .runner_access import dino_model, require_epochs


def diagnose(loss: float, teacher_entropy: float, largest_prototype: float,
             num_prototypes: int) -> Optional[str]:
    """Name the collapse (Caron et al. 2021, Sec. 5.3), or None.

    Args:
        loss (float): Mean loss in nats.
        teacher_entropy (float): Mean entropy of the targets in nats.
        largest_prototype (float): Mean share of the most used prototype.
        num_prototypes (int): K.

    Returns:
        str | None: What happened and what to change.
    """
    uniform = math.log(num_prototypes)
    if min(loss, teacher_entropy) > 0.99 * uniform:
        return (f'the output is uniform: loss {loss:.3f} and teacher entropy '
                f'{teacher_entropy:.3f} are at ln K = {uniform:.3f}. Lower '
                'teacher_temp, or raise the learning rate or the batch size.')
    if largest_prototype > 0.9:
        return (f'one prototype takes {largest_prototype:.0%} of the '
                f'targets (teacher entropy {teacher_entropy:.3f}). Raise '
                'teacher_temp or lower the learning rate; check that '
                'CenteringHook is among the hooks.')
    return None


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Warn of a collapse; stop before a non-finite loss is stepped on.

    A collapse is warned of when it is first seen, by the means of the last
    ``interval`` iterations. On a non-finite loss of any rank every rank
    writes ``nonfinite_iter<N>_rank<R>.pth`` to the work dir: the model's
    state, its inputs and the random state, which reproduce the step.

    Args:
        interval (int): Iterations between two looks.
        begin (int): Epochs before the first look: all outputs are uniform
            at the start.

    Raises:
        FloatingPointError: In training, if the loss is not finite.
    """

    def __init__(self, interval: int = 50, begin: int = 1) -> None:
        self.interval = interval
        self.begin = begin

    def before_train(self, runner: Runner) -> None:
        """Watch the model's forward."""
        require_epochs(runner, self)
        model = dino_model(runner)
        random_state = {}

        def before_forward(module, args) -> None:
            random_state['cpu'] = torch.get_rng_state()
            if torch.cuda.is_available():
                random_state['cuda'] = torch.cuda.get_rng_state()

        def after_forward(module, args, kwargs, output) -> None:
            if kwargs.get('mode') == 'loss' and _any_lost(output['loss']):
                _dump_and_raise(runner, output['loss'], kwargs['inputs'],
                                random_state)

        model.register_forward_pre_hook(before_forward)
        model.register_forward_hook(after_forward, with_kwargs=True)

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Look at the means every ``interval`` iterations."""
        if runner.epoch < self.begin or not self.every_n_train_iters(
                runner, self.interval):
            return
        hub = runner.message_hub
        loss, entropy, share = (
            hub.get_scalar(f'train/{key}').mean(self.interval)
            for key in ('loss', 'teacher_entropy', 'largest_prototype'))
        verdict = diagnose(loss, entropy, share,
                           dino_model(runner).head.out_dim)
        kind = (verdict or '').split(':')[0].split(' takes')[0]
        if verdict and hub.runtime_info.get('collapse') != kind:
            runner.logger.warning(f'Iteration {runner.iter + 1}: {verdict}')
        hub.update_info('collapse', kind)


def _any_lost(loss: torch.Tensor) -> bool:
    """Whether the loss of any rank is not finite."""
    lost = (~torch.isfinite(loss.detach())).to(torch.int32)
    all_reduce(lost, op='max')
    return bool(lost)


def _dump_and_raise(runner: Runner, loss: torch.Tensor, inputs: list,
                    random_state: dict) -> None:
    iteration = runner.iter + 1
    path = osp.join(runner.work_dir,
                    f'nonfinite_iter{iteration}_rank{get_rank()}.pth')
    model = dino_model(runner)
    torch.save(
        dict(
            cfg=runner.cfg.pretty_text,
            iteration=iteration,
            state_dict=model.state_dict(),
            teacher_temp=model.centering.temperature,
            inputs=inputs,
            random_state=random_state), path)
    raise FloatingPointError(
        f'Iteration {iteration}: the loss is {loss.item()} on rank '
        f'{get_rank()}, not finite on one at least. What reproduces the step '
        f'was written to {path}. Lower the learning rate, clip the '
        'gradients, or train without --amp; the last checkpoint is intact.')
