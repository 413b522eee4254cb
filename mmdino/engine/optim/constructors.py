"""How parameters are put into groups: merged, by layers, by heads."""
from functools import partial
from typing import Callable, List, Optional

import torch.nn as nn
from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmpretrain.engine.optimizers import \
    LearningRateDecayOptimWrapperConstructor

from mmdino.registry import (OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS,
                             OPTIMIZERS)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedGroupsConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor; parameters with equal settings share a group.

    MMEngine makes a group of each parameter, which keeps the optimizers from
    updating many tensors in one call. Modules without trainable parameters,
    such as the teacher, are passed over silently.
    """

    def add_params(self,
                   params: List[dict],
                   module: nn.Module,
                   prefix: str = '',
                   **kwargs) -> None:
        """Collect the groups of a module, merged at the top."""
        if not any(p.requires_grad for p in module.parameters()):
            return
        super().add_params(params, module, prefix, **kwargs)
        if not prefix:
            params[:] = merge_groups(params)


def merge_groups(groups: List[dict]) -> List[dict]:
    """Join the parameters of groups whose other entries are equal."""
    merged = {}
    for group in groups:
        settings = {k: v for k, v in group.items() if k != 'params'}
        key = tuple(sorted(settings.items()))
        merged.setdefault(key, dict(settings, params=[]))
        merged[key]['params'] += group['params']
    return list(merged.values())


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class BackboneLayerDecayConstructor(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's constructor for segmentors and detectors as well.

    With ``layer_decay_rate`` r, the learning rate of what follows the
    backbone's last block is the optimizer's; each block before has r times
    that of the next one, the embedding the least. mmpretrain's asks the model
    for depths, of which only its classifiers know; this asks the backbone.

    Raises:
        ValueError: If the backbone knows no depths.
    """

    def add_params(self,
                   params: List[dict],
                   module: nn.Module,
                   prefix: str = '',
                   get_layer_depth: Optional[Callable] = None,
                   **kwargs) -> None:
        """Append a group for each parameter of ``module`` to ``params``."""
        if get_layer_depth is None:
            backbone = module.backbone
            if not hasattr(backbone, 'get_layer_depth'):
                raise ValueError(
                    f'{type(self).__name__} needs a backbone with the method '
                    'get_layer_depth, such as mmdino.VisionTransformer; '
                    f'{type(backbone).__name__} has none.')
            get_layer_depth = partial(
                backbone.get_layer_depth, prefix='backbone.')
        super().add_params(
            params, module, prefix=prefix, get_layer_depth=get_layer_depth)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LinearProbeConstructor(DefaultOptimWrapperConstructor):
    """One parameter group a head of :class:`LinearProbe`, with its own lr.

    The optimizer's config has no ``lr``: the model's ``learning_rates`` are
    the only ones.

    Raises:
        ValueError: If the optimizer's config has an ``lr``.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of the heads; the backbone is not in it."""
        if 'lr' in self.optimizer_cfg:
            raise ValueError(
                f'optim_wrapper.optimizer.lr={self.optimizer_cfg["lr"]} has '
                'no effect on a linear probe: set model.learning_rates.')
        probe = model.module if is_model_wrapper(model) else model
        groups = [
            dict(params=list(head.parameters()), lr=lr)
            for lr, head in zip(probe.learning_rates, probe.heads)
        ]
        optimizer = OPTIMIZERS.build(dict(self.optimizer_cfg, params=groups))
        return OPTIM_WRAPPERS.build(
            dict(self.optim_wrapper_cfg, optimizer=optimizer))
