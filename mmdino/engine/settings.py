"""A check for settings that no component reads, such as misspelt ones.

And for words where a component takes numbers alone.
"""
import ast
import difflib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from mmengine.config import Config
from mmengine.fileio import load
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.runner.utils import set_random_seed
from mmengine.utils.dl_utils import set_multi_processing
from mmpretrain.engine.optimizers import \
    LearningRateDecayOptimWrapperConstructor
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils.data import DataLoader

from mmdino import registry
from mmdino.utils.names import suggest
from mmdino.utils.resources import resource

# Top-level keys that are read: by the Runner, or by functions of mmdino.
KEYS = set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | {
    'runner_type', 'strategy', 'sync_bn', 'find_unused_parameters',
    'model_wrapper_cfg', 'activation_checkpointing', 'compile',
    'custom_imports', 'data', 'data_root', 'teacher_snapshots', 'tf32'
}
# Registries of the components in the top-level parts of a config.
ROOTS = dict(
    model=registry.MODELS,
    train_dataloader=None,
    val_dataloader=None,
    test_dataloader=None,
    train_cfg=registry.LOOPS,
    val_cfg=registry.LOOPS,
    test_cfg=registry.LOOPS,
    val_evaluator=registry.METRICS,
    test_evaluator=registry.METRICS,
    optim_wrapper=registry.OPTIM_WRAPPERS,
    param_scheduler=registry.PARAM_SCHEDULERS,
    default_hooks=registry.HOOKS,
    custom_hooks=registry.HOOKS,
    visualizer=registry.VISUALIZERS,
    strategy=registry.STRATEGIES,
    log_processor=registry.LOG_PROCESSORS)
# Registries of components inside of these parts, by their keys.
BRANCHES = dict(
    dataset=registry.DATASETS,
    datasets=registry.DATASETS,
    pipeline=registry.TRANSFORMS,
    sampler=registry.DATA_SAMPLERS,
    batch_sampler=registry.DATA_SAMPLERS,
    collate_fn=None,
    optimizer=registry.OPTIMIZERS,
    vis_backends=registry.VISBACKENDS)
# Keys that MMEngine reads itself before it builds a component, by the name of
# its registry.
ADDED = {
    'optim_wrapper': {'constructor', 'paramwise_cfg'},
    'parameter scheduler': {'convert_to_iter_based'},
    'hook': {'priority'},
    'loop': {'by_epoch'},
}
# Types that MMEngine builds if a config names none.
DEFAULTS = dict(
    optim_wrapper='OptimWrapper',
    train_cfg='EpochBasedTrainLoop',
    val_cfg='ValLoop',
    test_cfg='TestLoop',
    log_processor='LogProcessor')


def check_settings(cfg: Config) -> None:
    """Raise an error for settings that no component of the config accepts.

    Keys of registered components are compared with the arguments of their
    constructors. Keys of ``auto_scale_lr``, ``paramwise_cfg``, ``env_cfg``,
    ``randomness``, ``clip_grad`` and of data loaders are compared with those
    that MMEngine reads. Components of other toolboxes (``_scope_``) and those
    that accept any key are not checked. A text is an error
    where the annotations of a component's argument are numbers or ``bool``.

    Args:
        cfg: A completed config; it is not changed.

    Raises:
        ValueError: If nothing reads a setting; names it with its value and a
            similar one. If ``strategy`` is set without ``runner_type``.
    """
    scope = cfg.get('default_scope') or 'mmdino'
    if cfg.get('strategy') and 'runner_type' not in cfg:
        raise ValueError(
            "Only runner_type='FlexibleRunner' reads the setting `strategy`: "
            "add 'mmdino::_base_/fsdp.py' to the _base_ list, which sets "
            'both.')
    for key, value in cfg.to_dict().items():
        if key in ROOTS:
            if isinstance(value, dict) and key in DEFAULTS:
                value = dict(dict(type=DEFAULTS[key]), **value)
            _check(value, ROOTS[key], scope, key)
    for path, known in _plain_sections(cfg, scope).items():
        node = cfg
        for part in path.split('.'):
            node = (node or {}).get(part)
        if isinstance(node, dict):
            _refuse_others(node, known, path, path)
    _refuse_text(cfg.get('randomness') or {}, set_random_seed, 'randomness')


def _plain_sections(cfg: Config, scope: str) -> dict[str, set[str]]:
    """Return the known keys of the sections that MMEngine reads itself."""
    sections = {
        'auto_scale_lr': {'enable', 'base_batch_size'},
        'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
        'env_cfg.mp_cfg': _parameters(set_multi_processing) - {'distributed'},
        'randomness': _parameters(set_random_seed),
        'optim_wrapper.clip_grad': {
            'type', *_parameters(clip_grad_norm_),
            *_parameters(clip_grad_value_)
        } - {'parameters'},
    }
    wrapper = cfg.get('optim_wrapper') or {}
    paramwise = _paramwise_keys(
        _find(
            wrapper.get('constructor', 'DefaultOptimWrapperConstructor'),
            registry.OPTIM_WRAPPER_CONSTRUCTORS, scope))
    if paramwise:
        sections['optim_wrapper.paramwise_cfg'] = paramwise
    return sections


def _paramwise_keys(constructor: type | None) -> set[str] | None:
    """Return the keys of ``paramwise_cfg`` that a constructor reads.

    They are found in its source; None if it is of an unknown kind.
    """
    known = (DefaultOptimWrapperConstructor,
             LearningRateDecayOptimWrapperConstructor)
    if constructor is None or not issubclass(constructor, known):
        return None
    names = set()
    for kind in constructor.__mro__[:-1]:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
        names |= {
            node.args[0].value
            for node in ast.walk(tree) if isinstance(node, ast.Call)
            and ast.unparse(node.func) == 'self.paramwise_cfg.get'
        }
    return names


def _check(node: Any, kind: Registry | None, scope: str, path: str) -> None:
    """Check a section of a config and its subsections.

    Args:
        node: The section.
        kind: Registry of the components in it, or None.
        scope: Default scope of the config.
        path: Keys that lead to the section, joined by '.'.
    """
    if isinstance(node, (list, tuple)):
        for index, child in enumerate(node):
            _check(child, kind, scope, f'{path}.{index}')
        return
    if not isinstance(node, dict) or node.get('_scope_', 'mmdino') != 'mmdino':
        return
    if path.endswith('_dataloader'):
        _refuse_others(node,
                       _parameters(DataLoader) | {'num_batch_per_epoch'}, path,
                       'a loader')
        _refuse_text(node, DataLoader, path)
    elif isinstance(node.get('type'), str) and kind is not None:
        component = _find(node['type'], kind, scope)
        known = component and accepted(component)
        if known:
            _refuse_others(node, known | ADDED.get(kind.name, set()), path,
                           component.__name__)
        if component:
            _refuse_text(node, component, path)
    for key, child in node.items():
        if not key.endswith('_cfg'):
            _check(child, BRANCHES.get(key, kind), scope, f'{path}.{key}')


def _find(name: str, kind: Registry, scope: str) -> Callable | None:
    """Return a registered component; None if its toolbox is not installed."""
    try:
        with kind.switch_scope_and_registry(scope) as found:
            return found.get(name)
    except (ImportError, KeyError):
        return None


def accepted(component: Callable) -> set[str] | None:
    """Return the names of all arguments; None if any name is accepted.

    If a constructor passes its ``**kwargs`` to that of its base class, the
    arguments of the base class are included.

    Args:
        component: A class or a function.
    """
    if not inspect.isclass(component):
        return _parameters(component)
    names = set()
    for kind in component.__mro__:
        if kind is CheckpointHook:  # passes **kwargs to save_checkpoint
            names |= _parameters(Runner.save_checkpoint)
            return names | _parameters(kind.__init__)
        if '__init__' not in vars(kind):
            continue
        if kind is object:
            return names
        parameters = inspect.signature(kind.__init__).parameters.values()
        names |= {p.name for p in parameters}
        if all(p.kind != p.VAR_KEYWORD for p in parameters):
            return names
        read = _read_of_kwargs(kind.__init__)
        if read is None:
            return None
        names |= read
    return names


def _read_of_kwargs(init: Callable) -> set[str] | None:
    """Return the names that a constructor reads from its ``**kwargs``.

    None if it uses them in another way than to read names and to pass them to
    the constructor of its base class.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(init)))
    except (OSError, TypeError):
        return None
    name = tree.body[0].args.kwarg.arg
    uses = sum(
        isinstance(n, ast.Name) and n.id == name for n in ast.walk(tree))
    handed_on, keys = 0, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            function = ast.unparse(node.func)
            if function.startswith('super('):
                handed_on += any(
                    k.arg is None and ast.unparse(k.value) == name
                    for k in node.keywords)
            elif function in (f'{name}.get', f'{name}.pop'):
                keys.append(node.args[0])
        elif isinstance(node, ast.Subscript) and ast.unparse(
                node.value) == name:
            keys.append(node.slice)
    if not handed_on or uses > handed_on + len(keys):
        return None
    return {key.value for key in keys if isinstance(key, ast.Constant)}


def _parameters(function: Callable) -> set[str]:
    return set(inspect.signature(function).parameters)


def _refuse_others(node: dict, known: set[str], path: str, owner: str) -> None:
    known = known - {'self'}
    for key in set(node) - known - {'type', '_scope_'}:
        raise ValueError(
            f'{path}.{key}={node[key]!r}: {owner} has no setting {key!r}.'
            f'{suggest(key, known)}')


def _refuse_text(node: dict, component: Callable, path: str) -> None:
    """Raise an error for a text where an argument is a number or a switch."""
    for key, text in node.items():
        if isinstance(text, str) and key not in ('type', '_scope_'):
            kinds = set(_leaves(_annotation(component, key)))
            if kinds <= {int, float, bool, Tensor, NoneType}:
                meant = 'True or False' if bool in kinds else 'a number'
                raise ValueError(f'{path}.{key} must be {meant}, got {text!r}')


def _annotation(component: Callable, name: str) -> Any:
    """Return the annotated type of an argument; ``Any`` if there is none."""
    kinds = component.__mro__ if inspect.isclass(component) else ()
    inits = [vars(k)['__init__'] for k in kinds if '__init__' in vars(k)]
    for function in inits or [component]:
        found = getattr(function, '__annotations__', {})
        if name in found:
            one = SimpleNamespace(__annotations__={name: found[name]})
            with suppress(NameError):  # what is imported for annotations alone
                return get_type_hints(one, function.__globals__)[name]
    return Any


def _leaves(hint: Any) -> Iterator[Any]:
    """Return the types that an annotation is made of."""
    if get_origin(hint) in (Union, UnionType, tuple, list, Sequence):
        for part in get_args(hint):
            yield from _leaves(part)
    elif hint is not Ellipsis:
        yield hint


def check_top_level(cfg: Config) -> None:
    """Raise an error for top-level keys that look misspelt.

    Other unknown variables of a user's files are logged. Names that begin with
    an underscore and variables of other toolboxes' bases are ignored.

    Args:
        cfg: A config as ``Config.fromfile`` returns it.

    Raises:
        ValueError: If an unknown key resembles a known one, or is defined in a
            config of mmdino.
    """
    unread = []
    for name, path in dict(_assignments(cfg.filename)).items():
        if name in KEYS or name.startswith('_') or name not in cfg:
            continue
        close = difflib.get_close_matches(name, KEYS, 1, cutoff=.8)
        if close or Path(path).resolve().is_relative_to(resource('configs')):
            value = textwrap.shorten(repr(cfg[name]), 80)
            meant = f': did you mean {close[0]!r}?' if close else '.'
            raise ValueError(
                f'Nothing reads {name!r} in {path}, with the value {value}'
                f'{meant} Names of variables of your own must begin with an '
                'underscore.')
        unread.append(name)
    if unread:
        print_log(
            f'Nothing reads these variables of {cfg.filename}: '
            f'{", ".join(unread)}.',
            logger='current')


def _assignments(path: str) -> Iterator[tuple]:
    """Return the names that a config and its bases define, with their files.

    Bases of other toolboxes are left out.
    """
    for base in Config._get_base_files(path):
        scope = base.partition('::')[0] if '::' in base else 'mmdino'
        if scope == 'mmdino':
            yield from _assignments(Config._get_cfg_path(base, path)[0])
    if not path.endswith('.py'):
        yield from ((name, path) for name in load(path))
        return
    for node in ast.walk(ast.parse(Path(path).read_text())):
        targets = getattr(node, 'targets',
                          None) or [getattr(node, 'target', None)]
        for target in targets:
            if isinstance(target, ast.Name):
                yield target.id, path
