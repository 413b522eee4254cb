"""From a config and the options of a command line to a Runner."""
import argparse
import difflib
import gc
import inspect
import os
import os.path as osp
import sys
from datetime import timedelta
from typing import Any, Iterable, Optional, Set

import torch
import torch.distributed
from mmengine.config import Config
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from mmdino.engine.longrun.checkpoints import find_last_good
from mmdino.engine.testing import fill_sizes, model_class
from mmdino.models import DINO
from mmdino.utils.resources import find_config, find_toolboxes
from mmdino.weights import (CheckpointError, open_weights, require_resumable,
                            use_safe_loading)
from mmdino.weights.config import require_registered

RUNNER_KEYS = set(inspect.signature(Runner.__init__).parameters) | {
    'runner_type', 'strategy', 'sync_bn', 'find_unused_parameters',
    'model_wrapper_cfg', 'activation_checkpointing'
}
AMP = dict(
    OptimWrapper='AmpOptimWrapper',
    PerParameterClipOptimWrapper='PerParameterClipAmpOptimWrapper')


def load_config(args: argparse.Namespace) -> Config:
    """Read the config, merge the options of :func:`.arguments.add_arguments`.

    Raises:
        FileNotFoundError: If the config does not exist.
        ValueError: If a key looks misspelled.
    """
    local_rank = os.environ.get('OMPI_COMM_WORLD_LOCAL_RANK', args.local_rank)
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg = read_run(args.config, getattr(args, 'checkpoint', None),
                   args.cfg_options)
    cfg.launcher = args.launcher
    name = osp.splitext(osp.basename(cfg.filename or args.checkpoint))[0]
    cfg.work_dir = args.work_dir or cfg.get('work_dir') or osp.join(
        'work_dirs', name)
    return cfg


def read_config(name: str, overrides: Optional[dict] = None) -> Config:
    """Read a config as all tools do, with the modules that it imports.

    Modules beside the config can be named in its ``custom_imports``.

    Args:
        name: A file, or the name of a packaged config.
        overrides: Settings by ``key.key``.

    Raises:
        FileNotFoundError: If the config does not exist.
        ValueError: If a key looks misspelled.
    """
    path = find_config(name)
    sys.path.insert(0, osp.dirname(osp.abspath(path)))
    find_toolboxes()
    cfg = Config.fromfile(path)
    check_overrides(cfg, overrides or {})
    cfg.merge_from_dict(overrides or {})
    check_top_level(cfg)
    return cfg


def read_run(config: Optional[str],
             checkpoint: Optional[str],
             overrides: Optional[dict] = None) -> Config:
    """The config of a run: a given one, or that in its checkpoint.

    The latter is read as literals, and what it would import is not.

    Raises:
        CheckpointError: If neither is there.
    """
    if config:
        return read_config(config, overrides)
    cfg = open_weights(checkpoint).config
    if cfg is None:
        raise CheckpointError(f'{checkpoint} holds no config of a run: give '
                              '--config.')
    cfg.pop('custom_imports', None)
    require_registered(cfg.to_dict(), checkpoint)
    check_overrides(cfg, overrides or {})
    cfg.merge_from_dict(overrides or {})
    return cfg


def check_overrides(cfg: Config, overrides: dict) -> None:
    """Refuse overrides of settings that the config does not have.

    MMEngine would add them, and a misspelled one would have no effect. A new
    argument of an existing component is fine.
    """
    for key, value in overrides.items():
        node, parents = cfg, key.split('.')
        for part in parents[:-1] if len(parents) > 1 else parents:
            known = _keys(node) | (RUNNER_KEYS if node is cfg else set())
            if part not in known:
                raise ValueError(f'--cfg-options {key}={value}: the config '
                                 f'has no {part!r}.{_suggest(part, known)}')
            in_list = isinstance(node, (list, tuple))
            node = node[int(part)] if in_list else node.get(part)


def _keys(node: Any) -> Set[str]:
    """What a part of an override can name below ``node``."""
    if isinstance(node, (list, tuple)):
        return {str(i) for i in range(len(node))}
    return set(node) if isinstance(node, (dict, Config)) else set()


def check_top_level(cfg: Config) -> None:
    """Refuse top-level keys that are almost ones of MMEngine's Runner."""
    for key in set(cfg) - RUNNER_KEYS:
        close = difflib.get_close_matches(key, RUNNER_KEYS, 1, cutoff=0.9)
        if close and close[0] not in cfg:
            raise ValueError(f'Unknown config key {key!r} with the value '
                             f'{cfg[key]!r}: did you mean {close[0]!r}?')


def _suggest(part: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(part, known, 1)
    return f' Did you mean {close[0]!r}?' if close else ''


def use_amp(cfg: Config) -> None:
    """Train in mixed precision.

    Raises:
        RuntimeError: If there is no GPU.
        ValueError: If the optim wrapper has no counterpart for it.
    """
    if not torch.cuda.is_available():
        raise RuntimeError('--amp needs a GPU, and torch sees none: train '
                           'without it.')
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    kind = kind.removeprefix('mmdino.')
    if kind not in {*AMP, *AMP.values()}:
        raise ValueError(f'--amp does not know the optim wrapper {kind!r}; '
                         f'use one of {sorted(AMP)}.')
    cfg.optim_wrapper.type = AMP.get(kind, kind)
    cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def build_runner(cfg: Config, testing: bool = False) -> Runner:
    """Build the Runner, also for several processes without GPUs.

    It reads checkpoints without running what may be in them, and loads them
    whole or not at all.

    Args:
        cfg: Changed in place.
        testing: Whether the model is only to be tested.
    """
    use_safe_loading()
    if cfg.get('resume') and not cfg.get('load_from'):
        resume_last(cfg)
    if cfg.get('resume') and cfg.get('load_from'):
        require_resumable(cfg.load_from)
    cfg.default_hooks = dict(
        cfg.get('default_hooks') or {},
        network=dict(type='mmdino.NetworkHook', testing=testing))
    if not issubclass(model_class(cfg), DINO):
        cfg.default_hooks.classes = dict(type='mmdino.ClassesHook')
    if cfg.launcher != 'none' and not torch.cuda.is_available():
        distribute_on_cpu(cfg)
    if cfg.launcher != 'none' and getattr(
            model_class(cfg), 'is_frozen', False):
        cfg.model_wrapper_cfg = dict(type='mmdino.Unwrapped')
    fill_sizes(cfg)
    if 'runner_type' in cfg:
        return RUNNERS.build(cfg)
    return Runner.from_cfg(cfg)


def resume_last(cfg: Config) -> None:
    """Resume from the last good checkpoint of the work dir, if there is one.

    Raises:
        ValueError: If there are only damaged ones.
    """
    last = find_last_good(cfg.work_dir)
    cfg.resume = last is not None
    cfg.load_from = last or cfg.get('load_from')


def distribute_on_cpu(cfg: Config) -> None:
    """Make the process group and the model wrapper that CPUs need.

    MMEngine's own would ask for CUDA devices.

    Raises:
        ValueError: If the launcher is not torchrun.
    """
    if cfg.launcher != 'pytorch':
        raise ValueError(f'--launcher {cfg.launcher} needs GPUs; on CPUs use '
                         'tools/dist_train.sh or tools/dist_test.sh.')
    if not torch.distributed.is_initialized():
        timeout = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
        torch.distributed.init_process_group(
            'gloo', timeout=timeout and timedelta(seconds=timeout))
    cfg.setdefault(
        'model_wrapper_cfg',
        dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False)))
    # Torch has no synchronised BatchNorm for CPUs: each process normalises
    # by its own images, and the statistics are averaged after each epoch.
    cfg.sync_bn = None
    if 'strategy' in cfg:
        cfg.strategy.sync_bn = None
    _replace_sync_bn(cfg.model)
    cfg.custom_hooks = [
        *cfg.get('custom_hooks', []),
        dict(type='SyncBuffersHook')
    ]


def _replace_sync_bn(node: Any) -> None:
    """Turn the SyncBN that a model's config names into BN, in place."""
    if isinstance(node, dict):
        if node.get('type') == 'SyncBN':
            node['type'] = 'BN'
        for child in node.values():
            _replace_sync_bn(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            _replace_sync_bn(child)


def leave_process_group() -> None:
    """Let all processes end together; alone, do nothing.

    Without it a process whose peer is already gone may abort at exit; so may
    one whose DDP model outlives the group.
    """
    if torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
