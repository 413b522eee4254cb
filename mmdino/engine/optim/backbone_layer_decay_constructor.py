"""Layer-wise learning rates for a backbone inside any model."""
from functools import partial
from typing import Callable, List, Optional

import torch.nn as nn
from mmpretrain.engine.optimizers import \
    LearningRateDecayOptimWrapperConstructor

from mmdino.registry import OPTIM_WRAPPER_CONSTRUCTORS


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
