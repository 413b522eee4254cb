"""The network that a file holds, as the file tells it.

Every file of ours carries a network config, plain data:

- ``backbone`` and ``neck``, configs of modules; the neck may be missing;
- ``preprocessing``: ``mean`` and ``std``, one number a channel in the value
  range; ``channels``, 'RGB', 'BGR' or 'as stored'; ``value_range`` of the
  pixels before normalisation; ``size``, pixels a side of the images that it
  was trained on;
- ``data_preprocessor``, its config where it is not ours.

It stands in ``meta`` of a .pth and, as JSON, in the metadata of others. A
config is read as literals and never run: MMEngine writes it resolved into
checkpoints, so that names and plain values are all there is.
"""
import ast
import json
from typing import Any, Dict, Iterator, Mapping, Optional

from mmengine.config import Config

from mmdino.utils.resources import find_config
from mmdino.weights.keys import CheckpointError

NUMBERS = dict(nan=float('nan'), inf=float('inf'))
KEY = 'mmdino'  # of the metadata of other containers
PREPROCESSOR = 'MultiViewDataPreprocessor'
IMAGENET = dict(
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    channels='RGB',
    value_range=[0, 255],
    size=224)


def describe_network(cfg: Mapping) -> Optional[dict]:
    """The network config of a run, None if its model has no backbone.

    Args:
        cfg: Config of the run: ``model`` and, for the size of the images,
            ``train_dataloader``.
    """
    model = cfg.get('model') or {}
    if not model.get('backbone'):
        return None
    scope = cfg.get('default_scope') or 'mmdino'
    network = dict(backbone=_scoped(model['backbone'], scope))
    if model.get('neck'):
        network['neck'] = _scoped(model['neck'], scope)
    given = model.get('data_preprocessor') or {}
    network['preprocessing'] = describe_preprocessing(
        given, _training_size(cfg), model['backbone'].get('in_channels', 3))
    if given.get('type', PREPROCESSOR).removeprefix('mmdino.') != PREPROCESSOR:
        network['data_preprocessor'] = _scoped(given, scope)
    return _plain(network)


def describe_preprocessing(data_preprocessor: Mapping,
                           size: int,
                           num_channels: int = 3) -> dict:
    """What a network sees, from the config of its data preprocessor.

    Args:
        data_preprocessor: Of images in BGR, as OpenCV reads them.
        size: Pixels a side of the training's images.
        num_channels: Of the images, where none are normalised.
    """
    turned = data_preprocessor.get('bgr_to_rgb') or data_preprocessor.get(
        'to_rgb')
    mean = list(data_preprocessor.get('mean') or [0.] * num_channels)
    channels = 'RGB' if turned else 'BGR'
    return dict(
        mean=mean,
        std=list(data_preprocessor.get('std') or [1.] * len(mean)),
        channels=channels if len(mean) == 3 else 'as stored',
        value_range=[0, 255],
        size=size)


def given_parts(path: str) -> dict:
    """Configs of ``backbone``, ``neck`` and ``data_preprocessor``.

    Args:
        path: Config file, or the name of a packaged one. It is run, and so is
            what it imports.
    """
    cfg = Config.fromfile(find_config(path))
    scope = cfg.get('default_scope') or 'mmdino'
    return {
        key: _plain(_scoped(cfg.model[key], scope))
        for key in ('backbone', 'neck', 'data_preprocessor')
        if cfg.model.get(key)
    }


def preprocessor_cfg(network: Mapping) -> dict:
    """Config of the data preprocessor that a network config stands for."""
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


def to_metadata(network: Mapping) -> Dict[str, str]:
    """What safetensors, ONNX and .pt2 files keep."""
    return {KEY: json.dumps(network)}


def from_metadata(metadata: Optional[Mapping[str, str]]) -> Optional[dict]:
    """The network config in the metadata of a file, if there is one.

    Raises:
        CheckpointError: If it is damaged.
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
    """Read ``name = value`` lines, where a value is of literals and ``dict``.

    Args:
        text: As ``Config.pretty_text`` gives it.

    Raises:
        CheckpointError: If there is anything else in it. Nothing has run.
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
        f'The config in the checkpoint was refused and nothing of it was run: '
        f'line {node.lineno} has {ast.unparse(node)[:60]!r}, which is no '
        'plain value. Give the config as a file that you trust.')


def _scoped(cfg: Mapping, scope: str) -> dict:
    """A copy whose type names another default scope than ours."""
    if scope == 'mmdino' or '.' in cfg.get('type', '.'):
        return dict(cfg)
    return dict(cfg, type=f'{scope}.{cfg["type"]}')


def _training_size(cfg: Mapping) -> int:
    """Pixels a side of the largest views, or of the backbone's images."""
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
    """The kinds of views of the MultiCrops anywhere in a config."""
    if isinstance(node, Mapping):
        if isinstance(node.get('views'), Mapping):
            yield from node['views'].values()
        for child in node.values():
            yield from _views(child)
    elif isinstance(node, (list, tuple)):
        for child in node:
            yield from _views(child)


def _plain(node: Any) -> Any:
    """Plain dicts, lists and values, as JSON gives them back."""
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(value) for value in node]
    return node
