"""Says in words when training has collapsed."""
import math
from typing import Optional

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.registry import HOOKS
from .runner_access import dino_model, require_epochs

# What the hook and the ablations' verdict read, means over some iterations.
MONITORS = ('kl', 'teacher_entropy', 'largest_prototype', 'target_information')


def diagnose(num_prototypes: int, kl: float, teacher_entropy: float,
             largest_prototype: float,
             target_information: float) -> Optional[str]:
    """Name the collapse (Caron et al. 2021, Sec. 5.3), or None.

    Args:
        num_prototypes (int): K.
        kl (float): Mean KL(teacher || student) in nats.
        teacher_entropy (float): Mean entropy of the targets in nats.
        largest_prototype (float): Mean share of the most used prototype.
        target_information (float): Mutual information of image and
            prototype in nats.

    Returns:
        str | None: What happened and what to change.
    """
    uniform = math.log(num_prototypes)
    if teacher_entropy > 0.99 * uniform:
        return (f'the output is uniform: teacher entropy {teacher_entropy:.3f}'
                f' and loss {teacher_entropy + kl:.3f} are at ln K = '
                f'{uniform:.3f}. Lower teacher_temp, or raise the learning '
                'rate or the batch size.')
    if largest_prototype > 0.9:
        return (f'one prototype takes {largest_prototype:.0%} of the '
                f'targets (teacher entropy {teacher_entropy:.3f}). Raise '
                'teacher_temp or lower the learning rate; check that '
                'CenteringHook is among the hooks.')
    if target_information < 0.02:
        return ('all images have the same target: it tells '
                f'{target_information:.4f} nats about them (teacher entropy '
                f'{teacher_entropy:.3f}, KL {kl:.3f}). Lower teacher_temp, '
                'and check that CenteringHook is among the hooks.')
    return None


def summarize(verdict: Optional[str]) -> str:
    """A verdict of :func:`diagnose` in few words, or ''."""
    return (verdict or '').split(':')[0].split(' takes')[0]


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Warn of a collapse when it is first seen.

    Seen by the means of the last ``interval`` iterations.

    Args:
        interval (int): Iterations between two looks.
        begin (int): Epochs before the first look: all outputs are uniform
            at the start.

    Raises:
        KeyError: In the first iteration, if the loss does not return what
            it reads.
    """

    def __init__(self, interval: int = 50, begin: int = 1) -> None:
        self.interval = interval
        self.begin = begin

    def before_train(self, runner: Runner) -> None:
        """Check that there are epochs."""
        require_epochs(runner, self)

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Look at the means every ``interval`` iterations."""
        lacking = [key for key in MONITORS if key not in outputs]
        if lacking:
            loss = type(dino_model(runner).loss_module).__name__
            raise KeyError(
                f'{loss} does not return {lacking}, which CollapseMonitorHook '
                'reads: derive it from DINOLoss, or leave the hook out by '
                "_base_.default_hooks.pop('collapse') in the config.")
        if runner.epoch < self.begin or not self.every_n_train_iters(
                runner, self.interval):
            return
        hub = runner.message_hub
        means = {
            key: hub.get_scalar(f'train/{key}').mean(self.interval)
            for key in MONITORS
        }
        verdict = diagnose(dino_model(runner).head.out_dim, **means)
        kind = summarize(verdict)
        if verdict and hub.runtime_info.get('collapse') != kind:
            runner.logger.warning(f'Iteration {runner.iter + 1}: {verdict}')
        hub.update_info('collapse', kind)
