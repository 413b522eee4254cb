"""Opening of checkpoints of any format, and strict loading of their weights.

Files of mmdino hold the config of their network. Files of other libraries are
recognised by the names of their tensors, which are translated to ours; the log
says so. What cannot be inferred from the tensors has to be given. Nothing is
loaded in part: weights that do not fit are an error.
"""
import functools
import logging
import os.path as osp
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch.nn as nn
from mmengine.config import Config
from mmengine.logging import MMLogger, print_log

from mmdino.weights.adapters import digest, is_adapter, merge, told_adapters
from mmdino.weights.config import (describe_network, plain, read_plain_config,
                                   require_registered, set_preprocessor)
from mmdino.weights.foreign import FACTS, facts, foreign_network, given_network
from mmdino.weights.formats import (FORMATS, recognise, tells_timm, to_ours,
                                    told_by_timm, without)
from mmdino.weights.formats.ours import FROZEN, TEACHER
from mmdino.weights.infer import build_empty
from mmdino.weights.io import load_checkpoint
from mmdino.weights.keys import (CheckpointError, StateDict, add_prefix,
                                 find_misfits, name_keys, strip_prefix)
from mmdino.weights.sources import find_checkpoint


class Weights(NamedTuple):
    """The content of a checkpoint, under our names."""
    path: str
    format: str  # of the names in the file, a key of ``FORMATS``
    tensors: StateDict  # under the names in the file
    state: StateDict  # under our names
    # Network config that the file holds, see mmdino.weights.config, or None.
    network: dict | None
    meta: dict[str, Any]  # what MMEngine stores beside the tensors

    @property
    def config(self) -> Config | None:
        """Return the config of the run that wrote the file, if it is stored.

        It is parsed as literals and not executed.
        """
        text = self.meta.get('cfg')
        return read_plain_config(text) if text else None

    def part(self, name: str) -> StateDict:
        """Return the tensors of the teacher's ``backbone`` or ``neck``."""
        for network in (TEACHER, FROZEN, ''):
            tensors = strip_prefix(self.state, f'{network}{name}.')
            if tensors:
                return tensors
        return {}


def open_weights(path: str,
                 format_: str | None = None,
                 drop: Sequence[str] = (),
                 given: dict | None = None) -> Weights:
    """Read a checkpoint of any known format.

    Args:
        path: A file, or a name as described in :mod:`mmdino.weights.sources`.
        format_: Key of ``FORMATS``; by default recognised by the names of the
            tensors.
        drop: Prefixes of tensors to leave out, such as 'fc.'.
        given: As of :func:`resolve_network`; used if the file does not hold
            the config of its network.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file is damaged or could run code, or its
            names are those of no known format.
    """
    path = find_checkpoint(path)
    checkpoint = without(load_checkpoint(path, mmap=True), drop)
    return sort_out(checkpoint, path, format_, given)


def sort_out(checkpoint: dict[str, Any],
             path: str,
             format_: str | None = None,
             given: dict | None = None) -> Weights:
    """Interpret the content of a file, as :func:`open_weights` does."""
    checkpoint = _unwrapped(checkpoint)
    meta = checkpoint.get('meta')
    meta = meta if isinstance(meta, dict) else {}
    checkpoint = _merged(checkpoint, meta, path)
    network = _kept_network(meta)
    name = format_ or (meta.get('names', 'mmdino') if network else recognise(
        checkpoint, path, given))
    if name not in FORMATS:
        raise CheckpointError(
            f'The names in {path} are of the format {name!r}, which is none '
            f'of {", ".join(FORMATS)}: convert the file again with this '
            'version of mmdino.')
    tensors = checkpoint.get('state_dict', checkpoint)
    told, unused = network or given, FORMATS[name].classifier
    if network or tells_timm(told):
        unused = ()
    elif name == 'timm':
        told, unused = told_by_timm(tensors, path, told)
    left_out = [key for key in tensors if key.startswith(tuple(unused))]
    if len(left_out) == len(tensors):  # a lone classifier
        left_out = []
    state = to_ours(without(checkpoint, left_out), name, told)
    if name != 'mmdino':
        tell_once(
            f'{path} has the tensor names of the format {name}, which are '
            "translated to mmdino's" +
            (f', without {name_keys(left_out, 4)}.' if left_out else '.'))
    return Weights(path, name, tensors, state, network, meta)


def tell_once(text: str) -> None:
    """Log a line once for each logger."""
    _tell_once(text, MMLogger.get_current_instance().instance_name)


@functools.lru_cache
def _tell_once(text: str, log: str) -> None:
    print_log(text, logger='current')


def with_base(state: StateDict, told: dict[str, Any], path: str) -> StateDict:
    """Add the frozen weights to a state that holds only adapters.

    Args:
        state: State dict of a :class:`MeanTeacher` with adapters. Its own
            tensors take precedence over those of the base.
        told: Metadata of the adapters, see :mod:`mmdino.weights.adapters`.
        path: The file of ``state``.

    Raises:
        CheckpointError: If the metadata names no base, or the base cannot be
            found or has other weights than in the training.
    """
    base = told.get('base')
    layers = {key.rpartition('.')[0] for key in state if is_adapter(key)}
    if all(f'{layer}.weight' in state for layer in layers):
        return state
    if not base:
        raise CheckpointError(
            f'{path} holds adapters without the network that they belong to, '
            'and does not name it. Use a checkpoint of a training that '
            'started from a file, or train with model.lora.save_base=True.')
    try:
        weights = open_weights(_beside(base['name'], path))
    except (FileNotFoundError, CheckpointError) as error:
        raise CheckpointError(
            f'{path} holds adapters of {base["name"]}, which is needed as '
            f'well: {error} Put that file there or beside {path}.') from error
    tensors = weights.part('backbone')
    if digest(tensors) != base['sha256']:
        raise CheckpointError(
            f'{path} holds adapters of another {base["name"]}: the SHA-256 of '
            f'its weights is {digest(tensors)[:12]}..., but it was '
            f'{base["sha256"][:12]}... in the training. Replace it by the '
            'file of the training.')
    return {
        **add_prefix(tensors, 'backbone.'),
        **add_prefix(tensors, TEACHER + 'backbone.'),
        **state
    }


def _beside(name: str, path: str) -> str:
    """Return the path of the base.

    If it is not where it was, it is looked for beside the adapters.
    """
    moved = osp.join(osp.dirname(path), osp.basename(name))
    return moved if not osp.exists(name) and osp.exists(moved) else name


def _merged(checkpoint: dict[str, Any], meta: dict[str, Any],
            path: str) -> dict[str, Any]:
    """Merge the adapters of a training into the plain network."""
    state = checkpoint.get('state_dict', checkpoint)
    # A state that is no dict is refused later, by recognise().
    told = isinstance(state, dict) and told_adapters(meta, state, path)
    if not told:
        return checkpoint
    state = merge(with_base(state, told, path), told['scale'])
    return dict(checkpoint, state_dict=state)


def resolve_network(weights: Weights,
                    given: dict | None = None,
                    num_heads: int | None = None) -> dict:
    """Return the network config of a file, or of a config that is given.

    Args:
        weights: The file.
        given: Configs by the names ``backbone``, ``neck`` and
            ``data_preprocessor``, each optional. They must agree with the
            network config in the file, if there is one.
        num_heads: Number of attention heads of a ViT whose file does not store
            it. It must agree with the file or config that does.

    Raises:
        CheckpointError: If the config, the file and ``num_heads`` disagree, or
            the network can be told by none.
    """
    given = {k: v for k, v in (given or {}).items() if v is not None}
    kept = weights.network
    if kept:
        require_registered(kept, weights.path, ['MODELS'])
        if 'backbone' in given:
            _check_backbone(weights, build_empty(given['backbone']))
    elif 'backbone' in given:
        kept = given_network(given)
    else:
        # Raises an error with the reason if the config of the run is refused.
        weights.config
        kept = foreign_network(weights.path, weights.format,
                               weights.part('backbone'), num_heads)
    parts = {key: given[key] for key in ('backbone', 'neck') if key in given}
    network = {**kept, **parts}
    if num_heads is not None:
        _check_heads(weights.path, network['backbone'], num_heads)
    if 'data_preprocessor' in given:
        network = set_preprocessor(network, given['data_preprocessor'],
                                   kept['preprocessing']['size'])
        if weights.network:
            same = ('mean', 'std', 'channels', 'value_range')
            _check_agreement(
                kept['preprocessing'], network['preprocessing'],
                dict(zip(same, same)),
                f'{weights.path} was trained on images normalised in another '
                'way', 'Leave out model.data_preprocessor, or give that of '
                'the training.')
    return plain(network)


def load_strictly(module: nn.Module, state: StateDict, what: str) -> None:
    """Load tensors; missing, unexpected or misshapen ones are an error.

    Position embeddings of another grid are resized by the module itself.

    Args:
        module: The module to load into.
        state: Tensors under the names of the module.
        what: What the tensors are and from which file, for the error message.

    Raises:
        CheckpointError: If they do not fit; nothing is loaded then.
    """
    check_fit(module, state, what)
    module.load_state_dict(state)


def check_fit(module: nn.Module,
              state: StateDict,
              what: str,
              expected: StateDict | None = None) -> None:
    """Check tensors as :func:`load_strictly` does, without loading.

    Args:
        module: The module to load into.
        state: Tensors under the names of the module.
        what: What the tensors are and from which file, for the error message.
        expected: State dict of the module; needed if FSDP has sharded it.

    Raises:
        CheckpointError: If the tensors do not fit.
    """
    expected = module.state_dict() if expected is None else expected
    resized = {
        f'{name}.pos_embed'.lstrip('.')
        for name, part in module.named_modules()
        if hasattr(part, '_prepare_pos_embed')
    }
    problems = find_misfits(state, expected,
                            '{} in the file, {} in the network', resized)
    if problems:
        raise CheckpointError(
            f'{what} does not fit {type(module).__name__}: {problems}. Give '
            'the config of the network that was trained.')


def load_pretrained(module: nn.Module,
                    checkpoint: str | None,
                    prefix: str = 'teacher.backbone.',
                    setting: str = 'model.checkpoint') -> None:
    """Load every weight of a module from a part of a checkpoint.

    Args:
        module: The module to load into.
        checkpoint: A file or a name as described in
            :mod:`mmdino.weights.sources`, of any known format.
        prefix: Prefix of the part under our names; '' for the teacher's
            backbone, or for a file that holds the weights of a single one.
        setting: Name of the setting with the checkpoint, for the error
            message.

    Raises:
        CheckpointError: If no checkpoint is given, it has no such part, or
            the part does not fit.
        FileNotFoundError: If there is no such file.
    """
    if not checkpoint:
        raise CheckpointError(
            'The model has no checkpoint to start from. Give the file of the '
            f'pretraining: --checkpoint FILE_OR_NAME, or {setting}=FILE in a '
            'config.')
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
        _check_backbone(weights, module)
    load_strictly(module, part, f'{prefix}* of {checkpoint}')
    print_log(
        f'Loaded all {len(part)} weights {prefix}* of {checkpoint}',
        logger='current')


def require_resumable(path: str) -> None:
    """Raise an error for a file that a training cannot be resumed from.

    Raises:
        CheckpointError: If it lacks the optimizer or other state. The message
            says how to start a training from its weights.
        FileNotFoundError: If there is no such file.
    """
    path = find_checkpoint(path)
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
        f'{path} cannot be resumed, it lacks {name_keys(lacking)}: only a '
        'checkpoint that a training saved can be resumed. To start a new '
        f'training from its weights: --checkpoint {path}.{convert}')


def _kept_network(meta: dict[str, Any]) -> dict | None:
    """Return the network config in a file of mmdino.

    Files without one may hold the config of the run, which contains it.
    """
    if isinstance(meta.get('network'), dict):
        return meta['network']
    text = meta.get('cfg')
    if not isinstance(text, str):
        return None
    try:
        return describe_network(read_plain_config(text))
    except CheckpointError as error:  # harmless if the user gives a config
        print_log(str(error), logger='current', level=logging.WARNING)
        return None


def _check_backbone(weights: Weights, given: nn.Module) -> None:
    """Compare a module with the backbone that a file describes."""
    _check_agreement(
        facts(build_empty(weights.network['backbone'])), facts(given), FACTS,
        f'{weights.path} is of another network',
        'Give the config of the network that was trained, or none.')


def _check_heads(path: str, backbone: dict, num_heads: int) -> None:
    """Compare a number of attention heads with that of a backbone's config."""
    kept = facts(build_empty(backbone)).get('num_heads', num_heads)
    if kept != num_heads:
        raise CheckpointError(
            f'The network of {path} has {kept} attention heads, not '
            f'{num_heads}: leave the number out.')


def _check_agreement(kept: dict, given: dict, names: dict[str, str],
                     problem: str, remedy: str) -> None:
    """Compare the entries that a file and a config have in common."""
    differing = [
        f'{name}: {kept[key]} in the file, {given[key]} in the config'
        for key, name in names.items()
        if key in kept and key in given and kept[key] != given[key]
    ]
    if differing:
        raise CheckpointError(f'{problem} than the config. '
                              f'{"; ".join(differing)}. {remedy}')


def _unwrapped(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Remove the ``module.`` that DDP puts before all names."""
    state = checkpoint.get('state_dict', checkpoint)
    wrapped = isinstance(state, dict) and state and all(
        str(key).startswith('module.') for key in state)
    if not wrapped or 'module.linear.weight' in state:  # the authors' own
        return checkpoint
    state = strip_prefix(state, 'module.')
    return {
        **checkpoint, 'state_dict': state
    } if 'state_dict' in checkpoint else state
