"""From a checkpoint to the weights of a network, whoever wrote the file.

Files of ours tell their network. Files of others are recognised by the names
of their tensors and read under ours, which is said in the log; what no tensor
tells is asked for. Nothing is loaded in part: what does not fit is an error.
"""
import logging
import os.path as osp
from typing import Any, Dict, NamedTuple, Optional, Sequence

import torch.nn as nn
from mmengine.config import Config
from mmengine.logging import print_log

from mmdino.weights.config import (IMAGENET, describe_network, plain,
                                   read_plain_config, require_registered,
                                   set_preprocessor, training_size)
from mmdino.weights.formats import (FORMATS, recognise, tells_timm, to_ours,
                                    without)
from mmdino.weights.formats.ours import FROZEN, TEACHER
from mmdino.weights.infer import backbone_cfg, build_empty, family
from mmdino.weights.io import download, load_checkpoint
from mmdino.weights.keys import (CheckpointError, StateDict, name_keys,
                                 strip_prefix)
from mmdino.weights.published import find_checkpoint

# What makes another network of the same tensors, by attributes of modules.
FACTS = dict(
    patch_size='patch size',
    num_layers='blocks',
    embed_dims='width',
    num_heads='attention heads',
    in_channels='channels',
    pos_embed_mode='position embeddings resized by',
    model_name="timm's model")


class Weights(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        path: The file.
        format: Whose names it has, a key of ``FORMATS``.
        tensors: As the file names them.
        state: Under our names.
        network: Network config, see :mod:`mmdino.weights.config`; None where
            the file does not tell.
        meta: What MMEngine notes beside the tensors.
    """
    path: str
    format: str
    tensors: StateDict
    state: StateDict
    network: Optional[dict]
    meta: Dict[str, Any]

    @property
    def config(self) -> Optional[Config]:
        """Config of the run that wrote the file, read as literals."""
        text = self.meta.get('cfg')
        return read_plain_config(text) if text else None

    def part(self, name: str) -> StateDict:
        """Tensors of the teacher's ``backbone`` or ``neck``."""
        for network in (TEACHER, FROZEN, ''):
            tensors = strip_prefix(self.state, f'{network}{name}.')
            if tensors:
                return tensors
        return {}


def open_weights(path: str,
                 format_: Optional[str] = None,
                 drop: Sequence[str] = (),
                 given: Optional[dict] = None) -> Weights:
    """Read a checkpoint of any known format.

    Args:
        path: A file, an address, which is downloaded once, or the name of a
            published model.
        format_: Key of ``FORMATS``; by default recognised by the names.
        drop: Prefixes of tensors to leave out, such as 'fc.'.
        given: Parts of a config, as :func:`resolve_network` takes, for the
            names in a file that does not tell its network.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged or could run code, or its
            names are nobody's.
    """
    path = _local(path)
    checkpoint = without(load_checkpoint(path, mmap=True), drop)
    return sort_out(checkpoint, path, format_, given)


def sort_out(checkpoint: Dict[str, Any],
             path: str,
             format_: Optional[str] = None,
             given: Optional[dict] = None) -> Weights:
    """What a file holds, as :func:`open_weights` gives it.

    Args:
        checkpoint: What it holds.
        path: Of the file.
        format_, given: As for :func:`open_weights`.
    """
    checkpoint = _unwrapped(checkpoint)
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    network = _kept_network(meta)
    name = format_ or (meta.get('names', 'mmdino') if network else recognise(
        checkpoint, path, given))
    if name not in FORMATS:
        raise CheckpointError(
            f'The names in {path} are of the format {name!r}, which is none '
            f'of {", ".join(FORMATS)}: convert the file again.')
    tensors = checkpoint.get('state_dict', checkpoint)
    told = network or given
    classifier = () if network or tells_timm(told) else (
        FORMATS[name].classifier)
    left_out = [key for key in tensors if key.startswith(tuple(classifier))]
    state = to_ours(without(checkpoint, left_out), name, told)
    if name != 'mmdino':
        print_log(
            f'{path} has the names of the format {name}: read under ours' +
            (f', without {name_keys(left_out, 4)}.' if left_out else '.'),
            logger='current')
    return Weights(path, name, tensors, state, network, meta)


def resolve_network(weights: Weights,
                    given: Optional[dict] = None,
                    num_heads: Optional[int] = None) -> dict:
    """The network config of a file, or of a config that is given.

    Args:
        weights: The file.
        given: ``backbone`` and perhaps ``neck`` and ``data_preprocessor`` of
            a config. They must agree with the file, where it tells.
        num_heads: Attention heads of a foreign ViT.

    Raises:
        CheckpointError: If both disagree, or neither tells.
    """
    if weights.network:
        require_registered(weights.network, weights.path, ['MODELS'])
    given = {k: v for k, v in (given or {}).items() if v is not None}
    kept = weights.network or _foreign_network(weights, given, num_heads)
    if 'backbone' in given:
        _check_facts(weights, kept['backbone'], given['backbone'])
    network = dict(
        kept,
        **{key: given[key]
           for key in ('backbone', 'neck') if key in given})
    if 'data_preprocessor' in given:
        network = set_preprocessor(network, given['data_preprocessor'],
                                   kept['preprocessing']['size'])
        if weights.network:
            _check_preprocessing(weights, kept['preprocessing'],
                                 network['preprocessing'])
    return plain(network)


def load_strictly(module: nn.Module, state: StateDict, what: str) -> None:
    """Load tensors of which none may be missing, left over or misshapen.

    Position embeddings of another grid are resized by the module itself.

    Args:
        module: What receives them.
        state: By the module's own names.
        what: What they are and of which file, for the errors.

    Raises:
        CheckpointError: If they do not fit; nothing is loaded then.
    """
    check_fit(module, state, what)
    module.load_state_dict(state)


def check_fit(module: nn.Module,
              state: StateDict,
              what: str,
              expected: Optional[StateDict] = None) -> None:
    """As :func:`load_strictly`, without loading.

    Args:
        expected: The module's state dict, where FSDP spreads it.
    """
    expected = module.state_dict() if expected is None else expected
    resized = {
        f'{name}.pos_embed'.lstrip('.')
        for name, part in module.named_modules()
        if hasattr(part, '_prepare_pos_embed')
    }
    missing = expected.keys() - state.keys()
    leftover = state.keys() - expected.keys()
    shapes = [
        f'{key} {tuple(state[key].shape)} in the file, {tuple(value.shape)} '
        'in the network' for key, value in expected.items()
        if key in state and state[key].shape != value.shape
        and not (key in resized and state[key].shape[-1] == value.shape[-1])
    ]
    problems = [
        f'{word} {name_keys(keys, 6)}'
        for word, keys in (('missing', missing), ('left over', leftover),
                           ('of another shape', shapes)) if keys
    ]
    if problems:
        raise CheckpointError(
            f'{what} does not fit {type(module).__name__}: '
            f'{"; ".join(problems)}. Give the config of the network that was '
            'trained.')


def load_pretrained(module: nn.Module,
                    checkpoint: Optional[str],
                    prefix: str = 'teacher.backbone.',
                    setting: str = 'model.checkpoint') -> None:
    """Load every weight of a module from a part of a checkpoint.

    Args:
        module: What receives the weights.
        checkpoint: A file or an address, of any known format.
        prefix: Of the part under our names; '' for a file of the module
            alone.
        setting: Where a config names the checkpoint, for the errors.

    Raises:
        CheckpointError: If no checkpoint is given, it has no such part, or
            the part does not fit.
        FileNotFoundError: If there is no such file.
    """
    if not checkpoint:
        raise CheckpointError(
            'The model has no checkpoint to start from. Give the file of the '
            f'pretraining: --cfg-options {setting}=FILE')
    weights = open_weights(checkpoint)
    part = strip_prefix(weights.state, prefix or 'teacher.backbone.')
    if not part and prefix == 'teacher.backbone.':
        part = weights.part('backbone')
    if not part:
        raise CheckpointError(
            f'{checkpoint} ({setting}) holds no {prefix}*, only '
            f'{name_keys({k.partition(".")[0] for k in weights.state}, 5)}: '
            'is it a checkpoint of DINO pretraining?')
    if weights.network:
        _check_agreement(weights,
                         _facts(build_empty(weights.network['backbone'])),
                         _facts(module))
    load_strictly(module, part, f'{prefix}* of {checkpoint}')
    print_log(
        f'Loaded all {len(part)} weights {prefix}* of {checkpoint}',
        logger='current')


def require_resumable(path: str) -> None:
    """Refuse a file that a training cannot go on from.

    Raises:
        CheckpointError: If it holds weights alone; says what it is good for.
        FileNotFoundError: If there is no such file.
    """
    path = _local(path)
    checkpoint = load_checkpoint(path, mmap=True)
    lacking = {'state_dict', 'optimizer', 'meta'} - checkpoint.keys()
    if not lacking:
        return
    name = sort_out(checkpoint, path).format
    convert = '' if name == 'mmdino' else (
        f' It has the names of the format {name}: `python '
        f'tools/convert_checkpoint.py {path} TARGET --from {name} --to '
        'mmdino` gives it ours.')
    raise CheckpointError(
        f'{path} cannot be resumed, it lacks {name_keys(lacking)}: only what '
        'a training itself has saved can. To start a training from its '
        f'weights: --cfg-options load_from={path}.{convert}')


def _kept_network(meta: Dict[str, Any]) -> Optional[dict]:
    """The network of a file of ours; of older ones, from the run's config."""
    if isinstance(meta.get('network'), dict):
        return meta['network']
    text = meta.get('cfg')
    if not isinstance(text, str):
        return None
    try:
        return describe_network(read_plain_config(text))
    except CheckpointError as error:  # of no matter where a config is given
        print_log(str(error), logger='current', level=logging.WARNING)
        return None


def _foreign_network(weights: Weights, given: dict,
                     num_heads: Optional[int]) -> dict:
    """Of a file that does not tell: the given one, or read off its tensors."""
    preprocessing = dict(IMAGENET)
    if 'backbone' in given:
        preprocessing['size'] = training_size(dict(model=given))
        return dict(backbone=given['backbone'], preprocessing=preprocessing)
    if weights.meta.get('cfg'):
        weights.config  # says why it was refused
    backbone = _foreign_backbone(weights, num_heads, preprocessing)
    network = dict(backbone=backbone, preprocessing=preprocessing)
    if backbone['type'] == 'mmdino.VisionTransformer':
        backbone['pos_embed_mode'] = FORMATS[weights.format].pos_embed_mode
        preprocessing['size'] = backbone['img_size']
    if backbone['type'] == 'mmpretrain.ResNet':
        network['neck'] = dict(type='mmpretrain.GlobalAveragePooling')
    print_log(
        f'{weights.path} does not tell its network: taken for '
        f'{_in_words(backbone)}, images with mean {preprocessing["mean"]} and '
        f'std {preprocessing["std"]}.',
        logger='current')
    return network


def _foreign_backbone(weights: Weights, num_heads: Optional[int],
                      preprocessing: dict) -> dict:
    """Read off the tensors and off the library's own files beside them.

    Args:
        preprocessing: Changed in place to what these files tell.
    """
    told = FORMATS[weights.format].read_config(osp.dirname(weights.path))
    preprocessing.update(
        {key: told[key]
         for key in ('mean', 'std', 'size') if key in told})
    state = weights.part('backbone')
    if 'model_name' in told and family(state) == 'timm':
        return dict(
            type='mmdino.TimmBackbone',
            model_name=told['model_name'],
            **told['kwargs'])
    backbone = backbone_cfg(state, num_heads or told.get('num_heads'))
    for ours, theirs in (('embed_dims', 'width'), ('num_layers', 'depth'),
                         ('num_heads', 'num_heads')):
        arch = backbone.get('arch', {})
        if ours in arch and told.get(theirs, arch[ours]) != arch[ours]:
            raise CheckpointError(
                f'config.json beside {weights.path} is of another network: '
                f'{theirs} {told[theirs]}, not {arch[ours]}. Move it away, or '
                'do not give --heads.')
    if told.get('norm_eps') is not None:
        backbone['norm_cfg'] = dict(type='LN', eps=told['norm_eps'])
    return backbone


def _in_words(backbone: dict) -> str:
    facts = _facts(build_empty(backbone))
    return f'{backbone["type"]} (' + ', '.join(
        f'{FACTS[key]} {value}' for key, value in facts.items()) + ')'


def _check_facts(weights: Weights, kept: dict, given: dict) -> None:
    if kept is given:
        return
    _check_agreement(weights, _facts(build_empty(kept)),
                     _facts(build_empty(given)))


def _check_agreement(weights: Weights, kept: dict, given: dict) -> None:
    """Compare what a file says of its network with what a config says."""
    differing = [
        f'{FACTS[key]}: {kept[key]} in the file, {given[key]} in the config'
        for key in kept if key in given and kept[key] != given[key]
    ]
    if differing:
        raise CheckpointError(
            f'{weights.path} is of another network than the config. '
            f'{"; ".join(differing)}. Give the config of the network that '
            'was trained, or none.')


def _check_preprocessing(weights: Weights, kept: dict, given: dict) -> None:
    differing = [
        f'{key}: {kept[key]} in the file, {given[key]} in the config'
        for key in ('mean', 'std', 'channels', 'value_range')
        if kept[key] != given[key]
    ]
    if differing:
        raise CheckpointError(
            f'{weights.path} was trained on images normalised in another way '
            f'than the config. {"; ".join(differing)}. Leave out '
            'model.data_preprocessor, or give that of the training.')


def _facts(module: nn.Module) -> Dict[str, Any]:
    """What the tensors' names and shapes may not tell of a backbone."""
    facts = {
        key: getattr(module, key)
        for key in FACTS if hasattr(module, key)
    }
    layers = getattr(module, 'layers', None)
    if isinstance(layers, nn.ModuleList) and hasattr(layers[0], 'attn'):
        facts['num_heads'] = layers[0].attn.num_heads
    return facts


def _local(path: str) -> str:
    path = find_checkpoint(path)
    return download(path) if '://' in path else path


def _unwrapped(checkpoint: Dict[str, Any]) -> Dict[str, Any]:
    """Without the ``module.`` that DDP puts before all names."""
    state = checkpoint.get('state_dict', checkpoint)
    if not (isinstance(state, dict) and state and all(
            isinstance(key, str) and key.startswith('module.')
            for key in state)) or 'module.linear.weight' in state:
        return checkpoint
    state = strip_prefix(state, 'module.')
    return dict(
        checkpoint, state_dict=state) if ('state_dict'
                                          in checkpoint) else state
