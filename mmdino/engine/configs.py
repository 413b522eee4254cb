"""Reading, completing and checking of configs, for all tools."""
import argparse
import copy
import inspect
import os
import os.path as osp
import sys
from collections.abc import Callable, Iterator
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from mmdino.engine.folders import read_folder
from mmdino.engine.settings import KEYS, check_settings, check_top_level
from mmdino.registry import DATASETS
from mmdino.utils.device import use_device
from mmdino.utils.names import suggest
from mmdino.utils.resources import find_config
from mmdino.weights import CheckpointError, open_weights
from mmdino.weights.config import require_registered

Change = Callable[[Config], None] | None


def load_config(args: argparse.Namespace, change: Change = None) -> Config:
    """Read the config and apply the options of the command line.

    From here on, MMEngine uses the device of ``--device``.

    Args:
        args: Options of :func:`.arguments.add_arguments` or of
            :func:`.arguments.add_run_arguments`.
        change: Effect of another option on the config, see :func:`prepare`.

    Raises:
        FileNotFoundError: If the config does not exist.
        ValueError: If nothing reads a setting, or the device does not exist.
    """
    use_device(args.device, args.launcher)
    local_rank = os.environ.get('OMPI_COMM_WORLD_LOCAL_RANK', args.local_rank)
    os.environ.setdefault('LOCAL_RANK', str(local_rank))
    cfg = read_run(args.config, getattr(args, 'checkpoint', None),
                   args.cfg_options, change)
    cfg.launcher = args.launcher
    name = osp.splitext(osp.basename(cfg.filename or args.checkpoint))[0]
    cfg.work_dir = (
        getattr(args, 'work_dir', None) or cfg.get('work_dir')
        or osp.join('work_dirs', name))
    return cfg


def read_config(name: str,
                overrides: dict | None = None,
                change: Change = None) -> Config:
    """Read a config file and import the modules of its ``custom_imports``.

    These may lie in the folder of the config, which is put on ``sys.path``.

    Args:
        name: A file, or the name of a packaged config.
        overrides: Values of settings, with names such as 'key.key'.
        change: As in :func:`prepare`.

    Raises:
        FileNotFoundError: If the config does not exist.
        ValueError: If nothing reads a setting.
    """
    path = find_config(name)
    sys.path.insert(0, osp.dirname(osp.abspath(path)))
    cfg = Config.fromfile(path)
    check_top_level(cfg)
    return override(cfg, overrides or {}, change)


def read_run(config: str | None,
             checkpoint: str | None,
             overrides: dict | None = None,
             change: Change = None) -> Config:
    """Return the config of a run: the given one, or that in its checkpoint.

    A config in a checkpoint is read as literals only, and its
    ``custom_imports`` are ignored.

    Args:
        config: A file, the name of a packaged config, or None.
        checkpoint: The checkpoint, which is read if there is no config.
        overrides: As in :func:`read_config`.
        change: As in :func:`prepare`.

    Raises:
        CheckpointError: If no config is given and the checkpoint has none.
        ValueError: If nothing reads a setting.
    """
    if config:
        return read_config(config, overrides, change)
    cfg = open_weights(checkpoint).config
    if cfg is None:
        raise CheckpointError(f'{checkpoint} holds no config of a run: name '
                              'one by --config.')
    cfg.pop('custom_imports', None)
    require_registered(cfg.to_dict(), checkpoint)
    return override(cfg, overrides or {}, change)


def override(cfg: Config, overrides: dict, change: Change = None) -> Config:
    """Apply overrides of a command line to a config, then prepare it.

    Args:
        cfg: Changed in place.
        overrides: As in :func:`read_config`.
        change: As in :func:`prepare`.

    Raises:
        ValueError: If nothing reads a setting.
    """
    if overrides:
        known = complete(copy.deepcopy(cfg))
        if change:
            change(known)
        check_overrides(known, overrides)
        cfg.merge_from_dict({
            key: _as_in(cfg, key, value)
            for key, value in overrides.items()
        })
    return prepare(cfg, change)


def prepare(cfg: Config, change: Change = None) -> Config:
    """Complete a config and raise an error for settings that nothing reads.

    All tools call this function: ``Config.fromfile`` and ``prepare`` together
    give the config that they run. See :func:`complete` and
    :func:`.settings.check_settings`.

    Args:
        cfg: Changed in place.
        change: A function that changes the config before its settings are
            checked. An example is ``--amp``, whose optim wrapper accepts more
            settings.

    Raises:
        ValueError: If nothing reads a setting.
    """
    complete(cfg)
    if change:
        change(cfg)
    check_settings(cfg)
    return cfg


def complete(cfg: Config) -> Config:
    """Fill in settings that depend on the final config, not on a base.

    - The top-level ``data`` is a folder of images, see :func:`.read_folder`.
    - The top-level ``data_root`` is set in all data sets of mmdino that have
      no ``data_root``.
    - ``test_dataloader``, ``test_cfg`` and ``test_evaluator`` are merged into
      copies of those of the validation. A part that is complete by itself
      replaces the copy: it has a ``type`` or, for the loader, the type of its
      data set and a batch size. If there is no validation, an incomplete test
      is removed.
    - ``persistent_workers`` and ``prefetch_factor`` are removed from loaders
      without workers.
    - ``teacher_snapshots`` becomes a hook.
    - Variables whose names begin with an underscore are removed.

    Args:
        cfg: Changed in place. Completing it again changes nothing.

    Raises:
        ValueError: If a type is not a name, as in MMEngine's pure-Python
            configs.
    """
    for name in [key for key in cfg if key.startswith('_')]:
        cfg.pop(name)
    _refuse_classes(cfg._cfg_dict)
    data = cfg.pop('data', None)
    if data:
        read_folder(cfg, data)
    _follow_validation(cfg)
    for loader in loaders(cfg):
        if cfg.get('data_root') is not None:
            _set_root(loader.get('dataset'), cfg.data_root)
        if loader.get('num_workers') == 0:
            loader.pop('persistent_workers', None)
            loader.pop('prefetch_factor', None)
    if cfg.get('teacher_snapshots'):
        cfg.setdefault('default_hooks', ConfigDict())
        cfg.default_hooks.snapshot = dict(
            type='mmdino.TeacherSnapshotHook', **cfg.teacher_snapshots)
    return cfg


def _refuse_classes(node: Any, path: str = '') -> None:
    """Raise an error for a type that is a class or a function."""
    if isinstance(node, dict):
        kind = node.get('type')
        if callable(kind):
            raise ValueError(
                f'{path}type={kind.__name__} is a class or a function: write '
                f"types as names, such as type='{kind.__name__}', and import "
                'modules of your own by custom_imports.')
        children = node.items()
    else:
        children = enumerate(node)
    for key, child in children:
        if isinstance(child, (dict, list, tuple)):
            _refuse_classes(child, f'{path}{key}.')


def _follow_validation(cfg: Config) -> None:
    loader = cfg.get('test_dataloader') or {}
    if not cfg.get('val_dataloader') and loader and 'type' not in loader.get(
            'dataset', {}):
        print_log('There is no test: test_dataloader only changes settings '
                  'of val_dataloader, and the validation is off.')
        cfg.test_dataloader = cfg.test_cfg = cfg.test_evaluator = None
    if not cfg.get('val_dataloader') or any(
            cfg.get(f'test_{part}', '') is None
            for part in ('dataloader', 'cfg', 'evaluator')):
        return
    if not ('batch_size' in loader and 'type' in loader.get('dataset', {})):
        cfg.test_dataloader = _merged(cfg.val_dataloader, loader)
    loop = cfg.get('test_cfg') or {}
    if 'type' not in loop:
        cfg.test_cfg = _merged(cfg.get('val_cfg') or {}, loop)
        if 'type' in cfg.test_cfg:
            cfg.test_cfg.type = cfg.test_cfg.type.replace('Val', 'Test')
    metric = cfg.get('test_evaluator', {})
    if isinstance(metric, dict) and 'type' not in metric:
        cfg.test_evaluator = _merged(cfg.val_evaluator, metric)


def _merged(base: Any, changes: dict) -> Any:
    """Return ``base`` merged with changes, as config inheritance does it."""
    merged = Config(dict(part=copy.deepcopy(base)))
    if changes:
        merged.merge_from_dict(dict(part=copy.deepcopy(changes)))
    return merged.part


def _set_root(dataset: Any, root: Any) -> None:
    """Set a missing ``data_root`` in data sets of mmdino, however wrapped."""
    if isinstance(dataset, (list, tuple)):
        for part in dataset:
            _set_root(part, root)
    if not isinstance(dataset, dict) or 'type' not in dataset:
        return
    kind = DATASETS.get(f"mmdino.{dataset['type'].removeprefix('mmdino.')}")
    if 'data_root' not in dataset and kind and (
            'data_root' in inspect.signature(kind).parameters):
        dataset['data_root'] = root
    _set_root(dataset.get('datasets'), root)
    _set_root(dataset.get('dataset'), root)


def loaders(cfg: Config) -> Iterator[dict]:
    """Iterate the data loaders of all phases, galleries included."""
    for phase in ('train', 'val', 'test'):
        for holder, key in ((cfg, f'{phase}_dataloader'),
                            (cfg.get(f'{phase}_cfg'), 'gallery_dataloader')):
            if holder and holder.get(key):
                yield holder[key]


def check_overrides(cfg: Config, overrides: dict) -> None:
    """Raise an error for overrides of settings that the config lacks.

    MMEngine would add such a setting, and a misspelt one would have no effect.
    New arguments of existing components are allowed here;
    :func:`.settings.check_settings` checks them.

    Args:
        cfg: A completed config.
        overrides: As in :func:`read_config`.

    Raises:
        ValueError: If a key does not exist; suggests a similar one.
    """
    for key, value in overrides.items():
        node, parents = cfg, key.split('.')
        for part in parents[:-1] if len(parents) > 1 else parents:
            known = _keys(node) | (KEYS if node is cfg else set())
            if part not in known:
                raise ValueError(f'--cfg-options {key}={value}: the config '
                                 f'has no {part!r}.{suggest(part, known)}')
            in_list = isinstance(node, (list, tuple))
            node = node[int(part)] if in_list else node.get(part)


def _as_in(cfg: Config, key: str, value: Any) -> Any:
    """Return a list as a tuple where the config has a tuple.

    ``crop_size=[64,64]`` is what a shell takes unquoted, and transforms ask
    for a tuple.
    """
    node = cfg
    for part in key.split('.'):
        if part not in _keys(node):
            return value
        node = node[int(part)] if isinstance(node,
                                             (list, tuple)) else node[part]
    is_listed = isinstance(value, list) and isinstance(node, tuple)
    return tuple(value) if is_listed else value


def _keys(node: Any) -> set[str]:
    """List the keys that an override can name below ``node``."""
    if isinstance(node, (list, tuple)):
        return {str(i) for i in range(len(node))}
    return set(node) if isinstance(node, (dict, Config)) else set()
