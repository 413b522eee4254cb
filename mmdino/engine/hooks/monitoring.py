"""Hooks that watch a run: collapse, schedules, unreadable images."""
import math

import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmdino.engine.hooks.access import dino_model, require_epochs
from mmdino.registry import HOOKS

# Key of all validations in the message hub, which checkpoints store.
VALIDATIONS = 'validations'
# Logged figures that tell whether a training has collapsed, see diagnose().
MONITORS = ('teacher_entropy', 'largest_prototype', 'target_information')


def diagnose(num_prototypes: int, teacher_entropy: float,
             largest_prototype: float,
             target_information: float) -> str | None:
    """Return a message if training has collapsed, else None.

    See Caron et al. 2021, Sec. 5.3.

    Args:
        num_prototypes: Number of prototypes K.
        teacher_entropy: Mean entropy of the targets in nats.
        largest_prototype: Fraction of all targets that falls on the most used
            prototype.
        target_information: Mutual information of image and prototype in nats.

    Returns:
        What happened and what to change.
    """
    uniform = math.log(num_prototypes)
    if teacher_entropy > 0.99 * uniform:
        return (f'the output is uniform: teacher entropy {teacher_entropy:.3f}'
                f' is close to ln K = {uniform:.3f}. Lower teacher_temp, or '
                'raise the learning rate or the batch size.')
    if largest_prototype > 0.9:
        return (f'one prototype takes {largest_prototype:.0%} of the '
                f'targets (teacher entropy {teacher_entropy:.3f}). Raise '
                'teacher_temp or lower the learning rate; check that '
                'CenteringHook is among the hooks.')
    if target_information < 0.02:
        return ('all images have the same target: the mutual information of '
                f'images and targets is {target_information:.4f} nats '
                f'(teacher entropy {teacher_entropy:.3f}). Lower '
                'teacher_temp, and check that CenteringHook is among the '
                'hooks.')
    return None


def summarize(verdict: str | None) -> str:
    """Return a verdict of :func:`diagnose` in few words, or ''."""
    return (verdict or '').split(':')[0].split(' takes')[0]


@HOOKS.register_module()
class CollapseMonitorHook(Hook):
    """Warn once when the training collapses.

    The hook looks at the means of logged figures over the last ``interval``
    iterations, see :func:`diagnose`.

    Args:
        interval: Number of iterations between two checks.
        begin: Number of epochs without checks, since all outputs are uniform
            at the start.
    """

    def __init__(self, interval: int = 50, begin: int = 1) -> None:
        self.interval = interval
        self.begin = begin

    def before_train(self, runner: Runner) -> None:
        """Check that the loop counts epochs."""
        require_epochs(runner, self)

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Check the mean figures every ``interval`` iterations."""
        if runner.epoch < self.begin or not self.every_n_train_iters(
                runner, self.interval):
            return
        for prefix, number in dino_model(runner).prototypes.items():
            self._look(runner, prefix, number)
        self._look_for_duplicates(runner)

    def _look(self, runner: Runner, prefix: str, num_prototypes: int) -> None:
        """Check the targets whose figures have this prefix in the log."""
        hub = runner.message_hub
        names = [f'train/{prefix}{key}' for key in MONITORS]
        if not all(name in hub.log_scalars for name in names):
            return  # nothing has been logged yet
        means = {
            key: hub.get_scalar(name).mean(self.interval)
            for key, name in zip(MONITORS, names)
        }
        verdict = diagnose(num_prototypes, **means)
        kind, known = summarize(verdict), f'{prefix}collapse'
        if verdict and hub.runtime_info.get(known) != kind:
            what = 'Masked patches, iteration' if prefix else 'Iteration'
            runner.logger.warning(f'{what} {runner.iter + 1}: {verdict}')
        hub.update_info(known, kind)

    def _look_for_duplicates(self, runner: Runner) -> None:
        """Warn once if KoLeo finds identical features."""
        hub = runner.message_hub
        buffer = hub.log_scalars.get('train/koleo_duplicates')
        share = buffer.mean(self.interval) if buffer else 0
        if share and not hub.runtime_info.get('duplicates'):
            runner.logger.warning(
                f'Iteration {runner.iter + 1}: {share:.2%} of the class tokens'
                ' are identical to another one, where the gradient of the '
                'KoLeo loss is unbounded. Remove duplicate images; if there '
                'are none, the network has collapsed.')
            hub.update_info('duplicates', True)


@HOOKS.register_module()
class WeightDecayLogHook(Hook):
    """Log the weight decay of the decayed parameters as ``weight_decay``."""

    def before_train_iter(self,
                          runner: Runner,
                          batch_idx: int,
                          data_batch: dict | None = None) -> None:
        """Log the value that this iteration's step uses."""
        groups = runner.optim_wrapper.param_groups
        runner.message_hub.update_scalar(
            'train/weight_decay', max(g['weight_decay'] for g in groups))


@HOOKS.register_module()
class LogHistoryHook(Hook):
    """Keep only the last values of each logged figure in memory.

    MMEngine keeps a million values, copies all of them at every iteration and
    writes them into every checkpoint. The log files are not affected.

    Args:
        length: Number of values to keep. The histories are shortened every
            ``length`` iterations and reach twice this number in between. The
            window of the log processor must not be longer.

    Raises:
        ValueError: If ``length`` is below 1.
    """
    priority = 'LOWEST'

    def __init__(self, length: int = 10000) -> None:
        if length < 1:
            raise ValueError(
                f'LogHistoryHook: length must be 1 or more, got {length}')
        self.length = length

    def after_train_iter(self,
                         runner: Runner,
                         batch_idx: int,
                         data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Shorten the histories every ``length`` iterations."""
        if not self.every_n_train_iters(runner, self.length):
            return
        scalars = runner.message_hub.log_scalars
        for name, buffer in scalars.items():
            values, counts = buffer.data
            scalars[name] = HistoryBuffer(values[-self.length:],
                                          counts[-self.length:],
                                          buffer.max_length)


@HOOKS.register_module()
class UnreadableImagesHook(Hook):
    """Warn after each epoch in which further images could not be read.

    The warning counts the images of all workers and ranks.
    """

    def __init__(self) -> None:
        self._known = 0

    def after_train_epoch(self, runner: Runner) -> None:
        """Count the images that the data set has replaced."""
        flags = _flags(runner.train_dataloader.dataset)
        if flags is None:
            return
        flags = flags.to(torch.uint8)
        all_reduce(flags, op='max')
        count = int(flags.sum())
        if count > self._known:
            runner.logger.warning(
                f'{count} of {len(flags)} images ({count / len(flags):.1%}) '
                'could not be read so far and were replaced by others.')
        self._known = count


def _flags(dataset: Dataset | None) -> torch.Tensor | None:
    """Return ``unreadable`` of a data set or of the one that it wraps."""
    while dataset is not None and not hasattr(dataset, 'unreadable'):
        dataset = getattr(dataset, 'dataset', None)
    return None if dataset is None else dataset.unreadable


@HOOKS.register_module()
class ValidateFirstHook(Hook):
    """Validate before the first iteration and compare later results with it.

    This is for training that starts from loaded weights. A resumed training is
    not validated again. A warning is logged when the network becomes worse
    than at the start, and a table of all validations at the end.

    Args:
        needs_start: Whether a training that loads no weights is an error
            rather than a warning.
        metric: Name of the metric to compare, of which higher values are
            better. By default it is the accuracy of k-NN with k = 20 or, if
            there is none, the first metric that is not a rank.
        stop_below: Stop the training when the metric is lower than at the
            start by more than this, in units of the metric; by default never.

    Raises:
        ValueError: If ``stop_below`` is negative. At the start, if
            ``needs_start`` is set and no weights are loaded. After a
            validation, if it has no such ``metric``.
    """

    def __init__(self,
                 needs_start: bool = False,
                 metric: str | None = None,
                 stop_below: float | None = None) -> None:
        if stop_below is not None and stop_below < 0:
            raise ValueError('ValidateFirstHook: stop_below must be >= 0, got '
                             f'{stop_below}')
        self.needs_start = needs_start
        self.metric = metric
        self.stop_below = stop_below

    def before_train(self, runner: Runner) -> None:
        """Validate the loaded weights; without any, raise an error or warn."""
        if not runner._load_from:
            problem = ('no weights are given to start from. Name some by '
                       '--checkpoint FILE_OR_NAME, such as dinov2_vit-s14 '
                       'with --download.')
            if self.needs_start:
                raise ValueError(f'ValidateFirstHook: {problem}')
            runner.logger.warning('This training starts from random weights: '
                                  f'{problem}')
        if runner.iter == 0 and runner.val_loop is not None:
            runner.logger.info('Validating the loaded weights before training')
            runner.val_loop.run()

    def after_val_epoch(self,
                        runner: Runner,
                        metrics: dict | None = None) -> None:
        """Record the metrics and compare them with the first ones."""
        hub = runner.message_hub
        # An entry of the same iteration is one that is now repeated.
        rows = [
            row for row in hub.runtime_info.get(VALIDATIONS, ())
            if row['iter'] < runner.iter
        ]
        rows.append(dict(metrics or {}, iter=runner.iter))
        hub.update_info(VALIDATIONS, rows)
        if len(rows) > 1 and metrics:
            self._compare(runner, rows)

    def after_train(self, runner: Runner) -> None:
        """Log a table of all validations."""
        logger = MMLogger.get_current_instance()
        for name, scalars in runner.message_hub.log_scalars.items():
            values = scalars.data[0]
            if name.startswith('val/') and len(values) > 1:
                logger.info(f'{name[4:]}: {values[0]:.2f} before, '
                            f'{values[-1]:.2f} after')
        rows = runner.message_hub.runtime_info.get(VALIDATIONS, ())
        if len(rows) > 1:
            logger.info('Validations:\n' + _as_table(rows))

    def _compare(self, runner: Runner, rows: list[dict[str, float]]) -> None:
        first, last = rows[0], rows[-1]
        metric = self.metric or _main_metric(last)
        if metric is None:
            return
        if metric not in last or metric not in first:
            raise ValueError(
                f'ValidateFirstHook: there is no metric {metric!r} among '
                f'{[key for key in last if key != "iter"]}.')
        fall = first[metric] - last[metric]
        if fall > 0:
            runner.logger.warning(
                f'Iteration {runner.iter}: {metric} is {last[metric]:.2f}, '
                f'below the {first[metric]:.2f} of the weights that training '
                'started from. Lower the learning rate of the backbone, train '
                'for fewer iterations, or train adapters (model.lora).')
        if self.stop_below is not None and fall > self.stop_below:
            runner.logger.warning(
                f'{metric} has fallen by more than '
                f'stop_below={self.stop_below}: the training stops here.')
            runner.train_loop.stop_training = True


def _main_metric(row: dict[str, float]) -> str | None:
    """Return the name of the metric to compare, None if there is none.

    It is k-NN with k = 20 or the first metric. A rank is left out, because it
    may fall in a good training.
    """
    names = [k for k in row if k != 'iter' and not k.startswith('rank/')]
    return next((k for k in names if k.endswith('k20_top1')),
                names[0] if names else None)


def _as_table(rows: list[dict[str, float]]) -> str:
    """Format iterations and metrics, one validation a line."""
    names = [key for key in rows[0] if key != 'iter']
    lines = [['iteration', *names]]
    for row in rows:
        values = [f'{row[n]:.2f}' if n in row else '' for n in names]
        lines.append([str(row['iter']), *values])
    widths = [max(map(len, column)) for column in zip(*lines)]
    return '\n'.join('  '.join(
        cell.rjust(width) for cell, width in zip(line, widths))
                     for line in lines)
