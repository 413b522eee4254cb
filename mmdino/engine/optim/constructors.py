"""Grouping of parameters: merged, by layer, by head of a probe."""
from collections.abc import Callable
from functools import partial

import torch.nn as nn
from mmengine.model import is_model_wrapper
from mmengine.optim import DefaultOptimWrapperConstructor, OptimWrapper
from mmpretrain.engine.optimizers import \
    LearningRateDecayOptimWrapperConstructor

from mmdino.engine.optim.clipping import PerNetworkClipMixin
from mmdino.registry import (OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS,
                             OPTIMIZERS)

FSDP_PREFIX = '_fsdp_wrapped_module.'


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedGroupsConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor that merges groups with equal settings.

    MMEngine puts each parameter into a group of its own, which prevents
    optimizers from updating many tensors in one call. Modules without trained
    parameters, such as the teacher, are skipped without log messages.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper and tell it the networks."""
        return _tell_networks(super().__call__(model), model)

    def add_params(self,
                   params: list[dict],
                   module: nn.Module,
                   prefix: str = '',
                   **kwargs) -> None:
        """Append the groups of a module; merge them at the outermost call."""
        if not any(p.requires_grad for p in module.parameters()):
            return
        super().add_params(params, module, prefix, **kwargs)
        if not prefix:
            params[:] = merge_groups(params)


def _tell_networks(wrapper: OptimWrapper, model: nn.Module) -> OptimWrapper:
    """Set ``networks`` of a wrapper that clips by network."""
    if isinstance(wrapper, PerNetworkClipMixin):
        parts = (model.module
                 if is_model_wrapper(model) else model).named_children()
        trained = {
            name: [p for p in part.parameters() if p.requires_grad]
            for name, part in parts
        }
        wrapper.networks = {k: v for k, v in trained.items() if v}
    return wrapper


def _depth(backbone: nn.Module, name: str) -> tuple[int, int]:
    """Return the depth of a parameter, by its name without FSDP's prefixes."""
    return backbone.get_layer_depth(
        name.replace(FSDP_PREFIX, ''), prefix='backbone.')


def merge_groups(groups: list[dict]) -> list[dict]:
    """Merge parameter groups with equal settings."""
    merged = {}
    for group in groups:
        settings = {k: v for k, v in group.items() if k != 'params'}
        key = tuple(sorted(settings.items()))
        merged.setdefault(key, dict(settings, params=[]))
        merged[key]['params'] += group['params']
    return list(merged.values())


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class BackboneLayerDecayConstructor(LearningRateDecayOptimWrapperConstructor):
    """mmpretrain's layer decay, also for segmentors and detectors.

    ``paramwise_cfg.layer_decay_rate`` is r. Layers after the last block of the
    backbone have the learning rate of the optimizer. Each block has r times
    the learning rate of the next one, and the embeddings have the smallest.
    mmpretrain's constructor calls ``get_layer_depth`` of the model, which only
    classifiers have; this one calls that of the backbone.

    Raises:
        ValueError: If the backbone has no method ``get_layer_depth``.
    """

    def add_params(self,
                   params: list[dict],
                   module: nn.Module,
                   prefix: str = '',
                   get_layer_depth: Callable | None = None,
                   **kwargs) -> None:
        """Append a group for each parameter of ``module`` to ``params``."""
        if get_layer_depth is None:
            backbone = module.backbone
            if not hasattr(backbone, 'get_layer_depth'):
                raise ValueError(
                    f'{type(self).__name__} needs a backbone with the method '
                    'get_layer_depth, such as mmdino.VisionTransformer; '
                    f'{type(backbone).__name__} has none.')
            get_layer_depth = partial(_depth, backbone)
        super().add_params(
            params, module, prefix=prefix, get_layer_depth=get_layer_depth)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayConstructor(BackboneLayerDecayConstructor):
    """Layer-wise learning rate decay for a :class:`.DINO`, in merged groups.

    The settings of ``paramwise_cfg`` are ``layer_decay_rate`` r,
    ``patch_embed_lr_mult`` m and ``backbone_lr_mult`` b, 1 by default. In a
    backbone of L blocks the learning rate of the optimizer is multiplied by

    - 1 for the heads,
    - b for the final norm,
    - b r^(L - i) for block i, from 0,
    - b r^(L + 1) for position embeddings and tokens,
    - b m r^(L + 1) for the patch embedding.

    Groups store their factor as ``lr_scale``, by which :class:`.WarmupCosine`
    multiplies the rates of its schedule.

    Raises:
        ValueError: If the backbone has no method ``get_layer_depth``, or a
            factor is not positive.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper and tell it the networks."""
        return _tell_networks(super().__call__(model), model)

    def add_params(self,
                   params: list[dict],
                   module: nn.Module,
                   prefix: str = '',
                   **kwargs) -> None:
        """Append the groups of a module; merge them at the outermost call."""
        if not any(p.requires_grad for p in module.parameters()):
            return
        if prefix:
            super().add_params(params, module, prefix, **kwargs)
            return
        patch_embed_lr_mult = self.paramwise_cfg.get('patch_embed_lr_mult', 1.)
        layer_decay_rate = self.paramwise_cfg.get('layer_decay_rate', 1.)
        backbone_lr_mult = self.paramwise_cfg.get('backbone_lr_mult', 1.)
        for name, factor in dict(
                patch_embed_lr_mult=patch_embed_lr_mult,
                backbone_lr_mult=backbone_lr_mult,
                layer_decay_rate=layer_decay_rate).items():
            if not factor > 0:
                raise ValueError(f'optim_wrapper.paramwise_cfg.{name} must be '
                                 f'> 0, got {factor}')
        super().add_params(params, module, **kwargs)
        for group in params:
            name = group.pop('param_name').replace(FSDP_PREFIX, '')
            factor = 1.
            if name.startswith('backbone.'):
                factor *= backbone_lr_mult
            if name.startswith('backbone.patch_embed.'):
                factor *= patch_embed_lr_mult
            group['lr_scale'] *= factor
            group['lr'] *= factor
            del group['layer_id']
        params[:] = merge_groups(params)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LinearProbeConstructor(DefaultOptimWrapperConstructor):
    """One parameter group for each head of a :class:`.LinearProbe`.

    The learning rates are the model's ``learning_rates``; the optimizer's
    config must not have ``lr``.

    Raises:
        ValueError: If the optimizer's config has an ``lr``.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer of the heads, without the backbone."""
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
