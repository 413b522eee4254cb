"""Settings, weights and data that a result depends on, as a flat dict.

Weights are represented by a hash of their content. A data set is represented
by its list of items, the sizes of the listed files and the content of some of
them; a zip archive by its size and modification time. Settings that change no
result, such as the number of workers, are left out.
"""
import copy
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.dataset import BaseDataset

from mmdino.datasets.listing import ZIP_PREFIX, ZIP_SEPARATOR
from mmdino.engine.configs import loaders, override
from mmdino.registry import DATASETS
from mmdino.utils.names import suggest

Settings = dict[str, Any]

# Top-level settings and settings of loaders that change no result.
TOP = ('work_dir', 'launcher', 'resume', 'experiment_name', 'log_level',
       'log_processor', 'visualizer')
LOADING = ('num_workers', 'persistent_workers', 'pin_memory',
           'prefetch_factor')
WEIGHTS = ('checkpoint', 'load_from')
PHASES = ('train', 'val', 'test')
SAMPLED = 200  # about so many files of a data set are read


class MissingData(Exception):
    """An error about a row's missing data; the message names them."""


def describe(cfg: Config,
             phases: Sequence[str] = PHASES,
             checkpoint: str | None = None,
             **others: Any) -> Settings:
    """Return all that the result of a config depends on.

    Args:
        cfg: The config, with all options.
        phases: Phases whose data are used.
        checkpoint: Weights that the config does not name.
        **others: Other settings that the result depends on.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        MissingData: If a data set lacks its files.
    """
    settings = {
        f'config {key}': value
        for key, value in flatten(_plain(cfg.to_dict())).items()
    }
    for key, path in [*_weights(cfg.to_dict()), ('checkpoint', checkpoint)]:
        if path:
            settings[f'weights {key}'] = hash_file(path)
    for place, dataset in data_sets(cfg, phases):
        settings[f'data {place}'] = list_data(dataset).digest
    settings.update(others)
    # As the settings are when they are read from a file.
    return json.loads(json.dumps(settings, default=str))


def digest(settings: Settings) -> str:
    """Return the SHA-256 of settings, in hexadecimal digits."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def differences(old: Settings, new: Settings, most: int = 5) -> str:
    """Describe which settings differ, with both values.

    Args:
        old: The earlier settings.
        new: The current settings.
        most: Largest number of settings to name.
    """
    keys = [k for k in {**old, **new} if old.get(k, ...) != new.get(k, ...)]
    told = [
        f'{key}: was {old.get(key, "nothing")!r}, '
        f'now {new.get(key, "nothing")!r}' for key in keys[:most]
    ]
    if len(keys) > most:
        told.append(f'and {len(keys) - most} more')
    return '; '.join(told)


def flatten(node: Any, name: str = '') -> dict[str, Any]:
    """Return the values in nested dicts and lists of dicts, by 'key.key'."""
    if isinstance(node, (list, tuple)) and any(
            isinstance(child, dict) for child in node):
        node = dict(enumerate(node))
    if not isinstance(node, dict) or not node:
        return {name: node}
    return {
        key: leaf
        for part, child in node.items()
        for key, leaf in flatten(child, f'{name}.{part}'.lstrip('.')).items()
    }


def _plain(node: Any, top: bool = True) -> Any:
    if isinstance(node, dict):
        return {
            key: _plain(value, False)
            for key, value in node.items()
            if not (top and (key in TOP or key.startswith('_')))
            and key not in LOADING and not _is_weights(key, value)
        }
    if isinstance(node, (list, tuple)):
        return [_plain(child, False) for child in node]
    return node


def _is_weights(key: str, value: Any) -> bool:
    return key in WEIGHTS and isinstance(value, str) and os.path.isfile(value)


def _weights(node: dict) -> Iterator[tuple[str, str]]:
    return ((key, value) for key, value in flatten(node).items()
            if _is_weights(key.rpartition('.')[2], value))


def hash_file(path: str) -> str:
    """Return 16 hexadecimal digits of a file's SHA-256.

    They are cached for the path, the size and the modification time.
    """
    stat = os.stat(path)
    return _hash_file(os.path.abspath(path), stat.st_size, stat.st_mtime_ns)


@cache
def _hash_file(path: str, size: int, modified: int) -> str:
    found = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(2**20):
            found.update(block)
    return found.hexdigest()[:16]


def data_sets(cfg: Config,
              phases: Sequence[str] = PHASES) -> Iterator[tuple[str, dict]]:
    """Yield the keys of a config's loaders and their data sets."""
    for phase in phases:
        for place in (f'{phase}_dataloader',
                      f'{phase}_cfg.gallery_dataloader'):
            holder, _, key = place.rpartition('.')
            loader = ((cfg.get(holder) or {}) if holder else cfg).get(key)
            if loader:
                yield place, loader['dataset']


class Listing(NamedTuple):
    """The content of a data set.

    Attributes:
        digest: Number of items and a hash, see the top of this module.
        classes: Names of the classes, or None.
    """
    digest: str
    classes: tuple[str, ...] | None


def list_data(dataset: dict) -> Listing:
    """List a data set, without decoding images; the result is cached.

    Args:
        dataset: Config of the data set.

    Raises:
        MissingData: If its files are not there.
    """
    cfg = copy.deepcopy(dict(dataset))
    if 'pipeline' in cfg:
        cfg['pipeline'] = []
    key = json.dumps(cfg, sort_keys=True, default=str)
    if key not in LISTINGS:
        LISTINGS[key] = _list(cfg)
    return LISTINGS[key]


LISTINGS: dict[str, Listing] = {}


def forget_listings() -> None:
    """Clear the cache of :func:`list_data`, as files may have changed."""
    LISTINGS.clear()


def _list(cfg: dict) -> Listing:
    try:
        dataset = DATASETS.build(cfg)
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) or not _holds_files(cfg):
            raise MissingData(str(error)) from error
        raise
    found, archives, count = hashlib.sha256(), {}, 0
    step = max(1, len(dataset) // SAMPLED)
    for count, item in enumerate(_items(dataset), 1):
        found.update(json.dumps(item, default=_as_text).encode())
        paths = [text for text in _texts(item) if os.sep in text]
        for path in paths:
            found.update(_size(path, archives))
        if count % step == 0:  # other files may have the same size
            file = next(filter(os.path.isfile, paths), None)
            found.update(hash_file(file).encode() if file else b'')
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
    found.update(str(classes).encode())
    return Listing(f'{count} items, {found.hexdigest()[:16]}', classes
                   and tuple(classes))


def _holds_files(cfg: dict) -> bool:
    """Return whether there is a file in the folder of a data set."""
    root = os.path.expanduser(cfg.get('data_root') or '')
    return not root or os.path.isfile(root) or any(
        names for _, _, names in os.walk(root))


def _items(dataset: Any) -> Iterable[dict]:
    """Return the items of a data set, without loading their images."""
    if isinstance(dataset, BaseDataset):
        dataset.full_init()
        return (BaseDataset.get_data_info(dataset, index)
                for index in range(len(dataset)))
    if hasattr(dataset, 'datasets'):
        return (item for part in dataset.datasets for item in _items(part))
    if hasattr(dataset, 'dataset'):
        return _items(dataset.dataset)
    return [dict(length=len(dataset))]


def _as_text(value: Any) -> str:
    if hasattr(value, 'tobytes'):
        return hashlib.sha256(value.tobytes()).hexdigest()
    return str(value)


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        node = list(node.values())
    if isinstance(node, (list, tuple)):
        for child in node:
            yield from _texts(child)


def _size(path: str, archives: dict[str, bytes]) -> bytes:
    """Return the size of a file, or of the archive that holds it."""
    if not path.startswith(ZIP_PREFIX):
        try:
            return b'%d' % os.stat(path).st_size
        except (OSError, ValueError):  # the text is not a path
            return b''
    archive = path.removeprefix(ZIP_PREFIX).partition(ZIP_SEPARATOR)[0]
    if archive not in archives:
        stat = os.stat(archive)
        archives[archive] = b'%d %d' % (stat.st_size, stat.st_mtime_ns)
    return archives[archive]


def missing_data(cfg: Config) -> str | None:
    """Return why a data set of a config cannot be listed; None if all can."""
    for _, dataset in data_sets(cfg):
        try:
            list_data(dataset)
        except (MissingData, RuntimeError, ValueError) as error:
            return str(error)
    return None


def with_data(cfg: Config, folder: Path) -> Config:
    """Return a copy of ``cfg`` in which ``folder`` replaces ``data/``."""
    moved = _move(cfg.to_dict(), f'{folder.absolute()}/')
    return Config(moved, filename=cfg.filename)


def _move(node: Any, folder: str) -> Any:
    if isinstance(node, dict):
        return {key: _move(value, folder) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(_move(value, folder) for value in node)
    if isinstance(node, str) and node.startswith('data/'):
        return folder + node.removeprefix('data/')
    return node


def cap_workers(cfg: Config) -> None:
    """Limit the workers of each loader to the number of CPU cores.

    Args:
        cfg: Changed in place.
    """
    for loader in loaders(cfg):
        loader['num_workers'] = min(
            loader.get('num_workers', 0), os.cpu_count())


def split_options(
        options: Settings,
        rows: Sequence[str],
        shared: Sequence[str] = (),
) -> dict[str, dict]:
    """Group options 'ROW.key=value' by their rows.

    Args:
        options: Options of the command line.
        rows: Names of the rows, which may contain dots.
        shared: Top-level settings that an option may change in all rows. Such
            options are returned for the key ''. By default there are none.

    Returns:
        The options 'key=value' of each row that has some.

    Raises:
        ValueError: If there is no such row.
    """
    found: dict[str, Settings] = {}
    for key, value in options.items():
        fitting = [row for row in rows if key.startswith(f'{row}.')]
        row = max(fitting, key=len, default='')
        first = key.partition('.')[0]
        hint = suggest(first, rows)
        meant = not shared or (hint and first not in shared)
        if not row and meant:
            raise ValueError(f'--cfg-options {key}={value}: an option must be '
                             'ROW.key=value with one of the rows of this run, '
                             f'{", ".join(rows)}.{hint}')
        found.setdefault(row, {})[key[len(row):].lstrip('.')] = value
    return found


def set_options(cfg: Config, options: Settings, row: str = '') -> None:
    """Override settings of a row's config.

    Args:
        cfg: Changed in place.
        options: Values by names of settings.
        row: Name of the row, for the error message.

    Raises:
        ValueError: If the config has no such setting.
    """
    try:
        if 'model' in cfg:
            override(cfg, options)
            return
        unknown = [key for key in options if key not in cfg]
        if unknown:  # the config holds the options of a drawing tool
            raise ValueError(f'there is no option {unknown[0]!r}; the options '
                             f'are {", ".join(cfg)}')
        cfg.update(options)
    except ValueError as error:
        raise ValueError(f'{row}: {error}' if row else str(error)) from error
