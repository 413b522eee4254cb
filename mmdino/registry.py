"""Registries of mmdino, children of MMEngine's root registries.

Their scope is ``mmdino``: ``type='mmdino.VisionTransformer'`` works in the
configs of all OpenMMLab toolboxes. Modules are imported when a registry is
first searched, not by ``import mmdino``. Registries to which mmdino adds
nothing exist so that ``default_scope = 'mmdino'`` finds MMEngine's components.
"""
import torch.nn as nn
from mmengine import registry as mmengine
from mmengine.registry import DefaultScope, Registry

__all__ = [
    'DATASETS', 'DATA_SAMPLERS', 'HOOKS', 'LOG_PROCESSORS', 'LOOPS', 'METRICS',
    'MODELS', 'MODEL_WRAPPERS', 'OPTIMIZERS', 'OPTIM_WRAPPERS',
    'OPTIM_WRAPPER_CONSTRUCTORS', 'PARAM_SCHEDULERS', 'STRATEGIES',
    'TRANSFORMS', 'VISBACKENDS', 'VISUALIZERS', 'build_module'
]


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(
        parent.name,
        parent=parent,
        scope='mmdino',
        locations=[f'mmdino.{location}' for location in locations])


MODELS = _child(mmengine.MODELS, 'models')
MODEL_WRAPPERS = _child(mmengine.MODEL_WRAPPERS, 'models')
DATASETS = _child(mmengine.DATASETS, 'datasets')
DATA_SAMPLERS = _child(mmengine.DATA_SAMPLERS, 'datasets')
TRANSFORMS = _child(mmengine.TRANSFORMS, 'datasets.transforms')
HOOKS = _child(mmengine.HOOKS, 'engine.hooks', 'engine.longrun',
               'evaluation.metrics', 'pictures.while_training')
LOOPS = _child(mmengine.LOOPS, 'engine.longrun', 'evaluation')
LOG_PROCESSORS = _child(mmengine.LOG_PROCESSORS, 'engine')
OPTIMIZERS = _child(mmengine.OPTIMIZERS, 'engine.optim')
OPTIM_WRAPPERS = _child(mmengine.OPTIM_WRAPPERS, 'engine.optim')
OPTIM_WRAPPER_CONSTRUCTORS = _child(mmengine.OPTIM_WRAPPER_CONSTRUCTORS,
                                    'engine.optim')
PARAM_SCHEDULERS = _child(mmengine.PARAM_SCHEDULERS, 'engine.optim')
STRATEGIES = _child(mmengine.STRATEGIES, 'engine.fsdp')
METRICS = _child(mmengine.METRICS, 'evaluation.metrics')
VISBACKENDS = _child(mmengine.VISBACKENDS, 'pictures')
VISUALIZERS = _child(mmengine.VISUALIZERS, 'pictures')


def build_module(cfg: dict) -> nn.Module:
    """Build a module from mmdino's registry, whatever the default scope is.

    A ``type`` without a scope is searched in mmdino's registry first. This
    also works in a notebook, where no default scope is set, and where another
    toolbox has set its own.

    Args:
        cfg: Config of the module, with ``type``.
    """
    with DefaultScope.overwrite_default_scope('mmdino'):
        return MODELS.build(cfg)
