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

    MMEngine makes a group of each parameter, which keeps the optimizers from
    updating many tensors in one call. Modules without trainable parameters,
    such as the teacher, are passed over silently.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper and tell it the networks."""
        return _tell_networks(super().__call__(model), model)

    def add_params(self,
                   params: list[dict],
                   module: nn.Module,
                   prefix: str = '',
                   **kwargs) -> None:
        """Collect the groups of a module and merge them at the top."""
        if not any(p.requires_grad for p in module.parameters()):
            return
        super().add_params(params, module, prefix, **kwargs)
        if not prefix:
            params[:] = merge_groups(params)


def _tell_networks(wrapper: OptimWrapper, model: nn.Module) -> OptimWrapper:
    """Give a wrapper the trained parameters of each part of the model."""
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
    """Merge parameter groups whose other entries are equal."""
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

    With ``layer_decay_rate`` r, the learning rate of what follows the
    backbone's last block is the optimizer's; each block before has r times
    that of the next one, the embedding the least. mmpretrain's asks the model
    for depths, of which only its classifiers know; this asks the backbone.

    Raises:
        ValueError: If the backbone knows no depths.
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
    """Layer-wise learning rate decay for a :class:`DINO`, in merged groups.

    With L blocks, ``layer_decay_rate`` r and ``patch_embed_lr_mult`` m, the
    learning rate is that of the optimizer for the heads and the final norm,
    r^(L - i) of it for block i, r^(L + 1) for position embeddings and tokens,
    and m r^(L + 1) for the patch embedding. ``backbone_lr_mult`` multiplies
    all of the backbone's besides. Groups know it as ``lr_scale``, so that
    :class:`WarmupCosine` scales all of its values by it.

    Raises:
        ValueError: If the backbone knows no depths, or a factor is not
            positive.
    """

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer wrapper and tell it the networks."""
        return _tell_networks(super().__call__(model), model)

    def add_params(self,
                   params: list[dict],
                   module: nn.Module,
                   prefix: str = '',
                   **kwargs) -> None:
        """Collect the groups of a module and merge them at the top."""
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
    """One parameter group for each head of a :class:`LinearProbe`.

    The optimizer's config has no ``lr``: the model's ``learning_rates`` are
    the only ones.

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
