"""Resuming with changed settings: what is adopted, re-based or refused."""
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmdino.engine.longrun.loop import ResumableTrainLoop
from mmdino.engine.optim import WarmupCosine
from mmdino.registry import HOOKS
from mmdino.weights.config import read_plain_config
from mmdino.weights.keys import CheckpointError

# Top-level keys of a config that affect the training.
TRAINING = ('model', 'train_dataloader', 'train_cfg', 'optim_wrapper',
            'param_scheduler', 'auto_scale_lr', 'default_hooks',
            'custom_hooks')
# Keys inside of these that do not affect it.
ASIDE = ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory',
         'val_interval', 'val_begin', 'logger', 'checkpoint', 'data_root')
# State of MMEngine's schedulers that is their progress, not their settings.
PROGRESS = ('last_step', '_global_step', '_last_value', 'verbose')


class Pace(NamedTuple):
    """The epoch length and batch size of a run."""
    epoch_length: int  # iterations
    batch_size: int  # images an iteration, of all processes
    num_images: int  # in the data set
    processes: int


@HOOKS.register_module()
class ResumeHook(Hook):
    """Let a resumed run follow its current config, and log what changed.

    MMEngine continues at the saved iteration, with the saved settings of the
    optimizer. With this hook

    - the iteration is computed anew if the length of an epoch has changed:
      schedules and momentum are then those that a run with the new settings
      would have at this epoch;
    - in the middle of an epoch, training continues at the first image that
      the epoch has not used. The epoch starts anew if no new batch begins at
      this image, or if the order of the images has changed;
    - the optimizer's settings are those of the config.

    Raises:
        ValueError: If the checkpoint has more epochs than ``max_epochs``, or
            if settings of a scheduler of MMEngine have changed, which would
            restore the saved ones.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Store the pace of this run in ``meta``."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            checkpoint['meta']['pace'] = _pace(runner)._asdict()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Adapt a checkpoint to the current config."""
        if not runner._resume:
            return
        _check_schedulers(runner, checkpoint)
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            _check_epochs(runner, checkpoint)
            _rebase(runner, checkpoint)
        _use_own_settings(runner, checkpoint)
        changes = [*_changed_settings(runner, checkpoint)]
        if changes:
            print_log(
                f'{runner._load_from} is continued with other settings: '
                f'{_shorten(changes)}.',
                logger='current',
                level=logging.WARNING)


def _pace(runner: Runner) -> Pace:
    loader, processes = runner.train_dataloader, get_world_size()
    return Pace(
        len(loader), (loader.batch_size or 1) * processes, len(loader.dataset),
        processes)


def _old_pace(checkpoint: dict) -> dict[str, int] | None:
    """Return the pace of the saved run, as far as the checkpoint has it."""
    if 'pace' in checkpoint['meta']:
        return checkpoint['meta']['pace']
    info = checkpoint.get('message_hub', {}).get('runtime_info', {})
    if info.get('max_epochs') and info.get('max_iters'):
        return dict(epoch_length=info['max_iters'] // info['max_epochs'])
    return None


def _check_epochs(runner: Runner, checkpoint: dict) -> None:
    epoch, end = checkpoint['meta']['epoch'], runner.max_epochs
    if epoch > end:
        raise ValueError(
            f'{runner._load_from} was trained for {epoch} epochs, and this '
            f'run has only {end}: raise train_cfg.max_epochs to at least '
            f'{epoch}, or resume from an earlier checkpoint.')


def _rebase(runner: Runner, checkpoint: dict) -> None:
    """Convert the iteration to epochs of this run's length."""
    meta, old, new = checkpoint['meta'], _old_pace(checkpoint), _pace(runner)
    if old is None:
        return
    epoch, iteration = meta['epoch'], meta['iter']
    done = iteration - epoch * old['epoch_length']
    same = all(old.get(k, v) == v for k, v in new._asdict().items())
    if same and isinstance(runner.train_loop, ResumableTrainLoop):
        return
    left = _batches_done(runner, done, old, new)
    if done:
        print_log(
            f'The checkpoint is of iteration {iteration} in epoch {epoch}, '
            f'which now has {new.epoch_length} iterations: ' +
            (f'training continues after {left} of them, at the first image '
             'that the epoch has not used.'
             if left else 'the epoch starts anew, from its first image.'),
            logger='current',
            level=logging.WARNING)
    meta['iter'] = epoch * new.epoch_length + left
    for state in _states(checkpoint):
        if not state.get('by_epoch'):
            for key in {'last_step', '_global_step'} & set(state):
                state[key] = meta['iter']


def _batches_done(runner: Runner, done: int, old: dict[str, int],
                  new: Pace) -> int:
    """Return how many batches of this run are the ``done`` batches of the old.

    It is 0 if no number of batches is, or the order of the images differs.
    """
    loop = runner.train_loop
    if (done < 0 or not isinstance(loop, ResumableTrainLoop)
            or 'batch_size' not in old or old['num_images'] != new.num_images
            or type(loop.dataloader.sampler.sampler) is not DefaultSampler):
        return 0
    if done == old['epoch_length']:
        return new.epoch_length
    batches, rest = divmod(done * old['batch_size'], new.batch_size)
    return 0 if rest or batches > new.epoch_length else batches


def _states(checkpoint: dict) -> list[dict]:
    states = checkpoint.get('param_schedulers') or []
    return states if isinstance(states, list) else []


def _schedulers(runner: Runner) -> list[_ParamScheduler]:
    ours = runner.param_schedulers or []
    return ours if isinstance(ours, list) else []


def _check_schedulers(runner: Runner, checkpoint: dict) -> None:
    """Raise an error if a scheduler of MMEngine has other settings now.

    It would restore those of the checkpoint.
    """
    for scheduler, state in zip(_schedulers(runner), _states(checkpoint)):
        if isinstance(scheduler, WarmupCosine) or 'begin' not in state:
            continue
        for name, now in scheduler.state_dict().items():
            before = state.get(name, now)
            if name not in PROGRESS and before != now:
                raise ValueError(
                    f'{runner._load_from} was saved with a '
                    f'{type(scheduler).__name__} of {name}={before}, and this '
                    f'run has {name}={now}, but such a scheduler restores the '
                    'saved value. Resume with the number of epochs, the '
                    'learning rate and the batch size of that run, train with '
                    "param_scheduler.type='WarmupCosine', or start from the "
                    'weights (load_from) without --resume.')


def _use_own_settings(runner: Runner, checkpoint: dict) -> None:
    """Put the settings of this run into the saved parameter groups.

    Values that a scheduler of MMEngine changes keep the saved value, from
    which the scheduler continues.
    """
    wrapper, saved = runner.optim_wrapper, checkpoint.get('optimizer')
    if not isinstance(wrapper, OptimWrapper) or not saved:
        return
    moved = {
        key
        for scheduler in _schedulers(runner)
        if not isinstance(scheduler, WarmupCosine)
        for key in (scheduler.param_name, f'initial_{scheduler.param_name}')
    }
    pairs = [*zip(saved['param_groups'], wrapper.optimizer.param_groups)]
    if saved.get('base_param_settings') and wrapper.base_param_settings:
        pairs.append(
            (saved['base_param_settings'], wrapper.base_param_settings))
    for old, new in pairs:
        old.update({
            key: value
            for key, value in new.items() if key not in {'params', *moved}
        })


def _changed_settings(runner: Runner, checkpoint: dict) -> Iterator[str]:
    """Describe each changed setting, as in 'lr 0.0005 -> 0.5'."""
    old = _old_pace(checkpoint) or {}
    if old.get('processes', get_world_size()) != get_world_size():
        yield f'processes {old["processes"]} -> {get_world_size()}'
    try:
        before = read_plain_config(checkpoint['meta'].get('cfg') or '')
    except CheckpointError:
        return  # the config has more than plain values: no comparison
    if not before:
        return
    before, now = dict(_settings(before)), dict(_settings(runner.cfg))
    for name in [*before, *(name for name in now if name not in before)]:
        pair = before.get(name, 'none'), now.get(name, 'none')
        if pair[0] != pair[1]:
            yield f'{name} {pair[0]} -> {pair[1]}'


def _settings(cfg: Config) -> Iterator[tuple[str, Any]]:
    """Yield all settings of the training, as ('key.key', value)."""
    for part in TRAINING:
        yield from _leaves(cfg.get(part), part)


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if path.rpartition('.')[2] in ASIDE:
        return
    if isinstance(node, Mapping):
        for key, child in node.items():
            yield from _leaves(child, f'{path}.{key}')
    elif isinstance(node, (list, tuple)) and any(
            isinstance(child, Mapping) for child in node):
        for index, child in enumerate(node):
            yield from _leaves(child, f'{path}.{index}')
    else:
        yield path, list(node) if isinstance(node, tuple) else node


def _shorten(changes: list[str], most: int = 12) -> str:
    more = len(changes) - most
    return ', '.join(
        changes[:most]) + (f' and {more} more' if more > 0 else '')
