"""The config of the network that is stored in a checkpoint.

Every checkpoint of mmdino carries a network config, a dict of plain values:

- ``backbone`` and, optionally, ``neck``: configs of modules;
- ``preprocessing``: ``mean`` and ``std``, one number for each channel, in the
  value range of the pixels; ``channels``, 'RGB', 'BGR' or 'as stored';
  ``value_range`` of the pixels before normalisation; ``size``, height and
  width in pixels of the images that the network was trained on, or that its
  authors evaluate it with;
- ``data_preprocessor``: its config, unless it is mmdino's.

It is stored in ``meta`` of a .pth file and, as JSON, in the metadata of other
containers. The run's config in a checkpoint is parsed as literals and never
executed. That suffices, because MMEngine writes configs with all variables
resolved.
"""
import ast
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from mmdino.weights.keys import CheckpointError

NUMBERS = dict(nan=float('nan'), inf=float('inf'))
# Scopes that a type may have; a type without a scope is looked for in the
# first three.
TOOLBOXES = ('mmdino', 'mmengine', 'mmpretrain', 'mmseg', 'mmdet')
# Settings that name the weights a training started from; they are dropped.
STARTS = ('init_cfg', 'pretrained')
KEY = 'mmdino'  # of the config in the metadata of other containers
PREPROCESSOR = 'MultiViewDataPreprocessor'
IMAGENET = dict(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    channels='RGB',
    value_range=[0, 255],
    size=224)


def describe_network(cfg: Mapping) -> dict | None:
    """Return the network config of a run, None if its model has no backbone.

    Args:
        cfg: Config of the run, of which ``model``, ``default_scope`` and, for
            the size of the images, ``train_dataloader`` are read.
    """
    model = cfg.get('model') or {}
    if not model.get('backbone'):
        return None
    scope = cfg.get('default_scope') or 'mmdino'
    network = dict(backbone=_scoped(model['backbone'], scope))
    if model.get('neck'):
        network['neck'] = _scoped(model['neck'], scope)
    return set_preprocessor(
        network, _scoped(model.get('data_preprocessor') or {}, scope),
        training_size(cfg))


def require_registered(cfg: Mapping,
                       path: str,
                       kinds: Sequence[str] | None = None) -> None:
    """Raise an error if a file's config has types that are not registered.

    MMEngine imports a type that is not registered as a Python object and calls
    it, so that a file could name any function.

    Args:
        cfg: Config stored in the file, or a part of it.
        path: The file, for the error message.
        kinds: Names of registries, such as 'MODELS'; by default all.

    Raises:
        CheckpointError: If a type is not registered. Nothing was imported.
    """
    for node in _dicts(cfg):
        kind = node.get('type', '')
        for name in (kind, f'{node.get("_scope_", TOOLBOXES[0])}.'):
            if not (isinstance(name, str) and _is_registered(name, kinds)):
                raise CheckpointError(
                    f'The config in {path} has the type {kind!r}, which is no '
                    'registered component: nothing was imported or called. If '
                    'you trust the file, give the config of the run with '
                    '--config; its custom_imports register the component.')


def set_preprocessor(network: dict, data_preprocessor: Mapping,
                     size: int) -> dict:
    """Add what a data preprocessor does to images to a network config.

    Args:
        network: Network config with ``backbone``.
        data_preprocessor: Config of a preprocessor that gets images in BGR, as
            OpenCV reads them.
        size: Height and width in pixels of the training images.

    Returns:
        A copy of the network config with ``preprocessing``.
    """
    get = data_preprocessor.get
    mean = get('mean') or [0.] * network['backbone'].get('in_channels', 3)
    channels = 'RGB' if get('bgr_to_rgb') or get('to_rgb') else 'BGR'
    network = dict(
        network,
        preprocessing=dict(
            mean=mean,
            std=get('std') or [1.] * len(mean),
            channels=channels if len(mean) == 3 else 'as stored',
            value_range=[0, 255],
            size=size))
    kind = get('type', PREPROCESSOR)
    if kind.removeprefix('mmdino.') != PREPROCESSOR:
        network['data_preprocessor'] = data_preprocessor
    return plain(network)


def preprocessor_cfg(network: Mapping) -> dict:
    """Return the config of the data preprocessor of a network config."""
    if 'data_preprocessor' in network:
        return dict(network['data_preprocessor'])
    preprocessing = network['preprocessing']
    mean, std = preprocessing['mean'], preprocessing['std']
    normalise = any(mean) or set(std) != {1.}
    return dict(
        type=f'mmdino.{PREPROCESSOR}',
        mean=mean if normalise else None,
        std=std if normalise else None,
        bgr_to_rgb=preprocessing['channels'] == 'RGB',
        non_blocking=True)


def to_metadata(network: Mapping) -> dict[str, str]:
    """Turn a network config into metadata of safetensors, ONNX and .pt2 files.
    """
    return {KEY: json.dumps(network)}


def from_metadata(metadata: Mapping[str, str] | None) -> dict | None:
    """Return the network config in a file's metadata, if there is one.

    Raises:
        CheckpointError: If the config is damaged.
    """
    if KEY not in (metadata or {}):
        return None
    try:
        network = json.loads(metadata[KEY])
        network['backbone']['type'], network['preprocessing']['mean']
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f'The metadata {KEY!r} of the file is damaged: {error!r}. Export '
            'or convert the checkpoint again.') from error
    return network


def read_plain_config(text: str) -> Config:
    """Parse the ``name = value`` lines of a ``Config.pretty_text``.

    Values may consist of literals and calls of ``dict``. Nothing is executed.

    Raises:
        CheckpointError: If there is anything else in the text.
    """
    try:
        lines = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise CheckpointError(
            f'The config in the checkpoint is damaged: {error}') from error
    for line in lines:
        if not (isinstance(line, ast.Assign) and len(line.targets) == 1
                and isinstance(line.targets[0], ast.Name)):
            raise _refused(line)
    return Config({line.targets[0].id: _value(line.value) for line in lines})


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Dict) and None not in node.keys:
        return dict(zip(map(_value, node.keys), map(_value, node.values)))
    if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
        kind = dict(List=list, Tuple=tuple, Set=set)[type(node).__name__]
        return kind(map(_value, node.elts))
    if isinstance(node, ast.Name) and node.id in NUMBERS:
        return NUMBERS[node.id]
    if _is_dict_call(node):
        pairs = {k.arg: _value(k.value) for k in node.keywords}
        return dict(*map(_value, node.args), **pairs)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise _refused(node) from error


def _is_dict_call(node: ast.expr) -> bool:
    return (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            and node.func.id == 'dict'
            and all(isinstance(arg, ast.Dict) for arg in node.args[:1])
            and len(node.args) < 2 and all(k.arg for k in node.keywords))


def _refused(node: ast.AST) -> CheckpointError:
    return CheckpointError(
        'The config in the checkpoint was refused, and nothing of it was run: '
        f'line {node.lineno} has {ast.unparse(node)[:60]!r}, which is no '
        'plain value. Give --config with a config file that you trust.')


def _is_registered(kind: str, kinds: Sequence[str] | None) -> bool:
    """Return whether a type, or a scope with a trailing dot, is registered."""
    scope, _, name = kind.rpartition('.')
    if scope and scope not in TOOLBOXES:
        return False
    scopes = [scope] if scope else TOOLBOXES[:3]
    return not name or any(
        name in registry.module_dict for scope in scopes
        for registry in _registries(scope, kinds))


def _registries(scope: str, kinds: Sequence[str] | None) -> Iterator[Registry]:
    """Return the registries of a scope and their parents, filled."""
    module = import_module(f'{scope}.registry')
    for name in kinds or vars(module):
        registry = getattr(module, name, None)
        while isinstance(registry, Registry):
            registry.import_from_location()
            yield registry
            registry = registry.parent


def _dicts(node: Any) -> Iterator[Mapping]:
    if isinstance(node, Mapping):
        yield node
        node = list(node.values())
    for child in node if isinstance(node, (list, tuple)) else ():
        yield from _dicts(child)


def _scoped(cfg: Mapping | Sequence, scope: str) -> dict | list:
    """Return a copy of a module's config that names the scope of its type.

    The settings of the weights that the training started from are left out. A
    neck may be a list of configs.
    """
    if isinstance(cfg, (list, tuple)):
        return [_scoped(part, scope) for part in cfg]
    kept = {key: v for key, v in cfg.items() if key not in STARTS}
    if scope == 'mmdino' or '.' in cfg.get('type', '.'):
        return kept
    return dict(kept, type=f'{scope}.{cfg["type"]}')


def training_size(cfg: Mapping) -> int:
    """Return the height and width in pixels of the largest views.

    Without views, the size is that of the backbone, or 224.
    """
    sizes = [
        crop['size'] for view in _views(cfg.get('train_dataloader'))
        if view.get('num_views', 1) for crop in [view.get('crop') or {}]
        if isinstance(crop.get('size'), int)
    ]
    if sizes:
        return max(sizes)
    size = cfg['model']['backbone'].get('img_size') or IMAGENET['size']
    return max(size) if isinstance(size, (list, tuple)) else size


def _views(node: Any) -> Iterator[Mapping]:
    """Iterate over the views of all MultiCrops in a config."""
    for part in _dicts(node):
        if isinstance(part.get('views'), Mapping):
            yield from part['views'].values()


def plain(node: Any) -> Any:
    """Convert nested configs to plain dicts, lists and values, as in JSON."""
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [plain(value) for value in node]
    return node
