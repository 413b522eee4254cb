"""Configs as all tools read them, with the options of a command line."""
import argparse
import difflib
import inspect
import os
import os.path as osp
import sys
from typing import Any, Iterable, Optional, Set

from mmengine.config import Config
from mmengine.runner import Runner

from mmdino.utils.resources import find_config, find_toolboxes
from mmdino.weights import CheckpointError, open_weights
from mmdino.weights.config import require_registered

RUNNER_KEYS = set(inspect.signature(Runner.__init__).parameters) | {
    'runner_type', 'strategy', 'sync_bn', 'find_unused_parameters',
    'model_wrapper_cfg', 'activation_checkpointing'
}


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
