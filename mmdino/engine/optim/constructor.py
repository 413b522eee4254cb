"""Few parameter groups instead of one for every parameter."""
from typing import List

import torch.nn as nn
from mmengine.optim import DefaultOptimWrapperConstructor

from mmdino.registry import OPTIM_WRAPPER_CONSTRUCTORS


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
