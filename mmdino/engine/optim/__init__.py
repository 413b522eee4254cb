from .backbone_layer_decay_constructor import BackboneLayerDecayConstructor
from .bfloat16 import PerParameterClipBFloat16OptimWrapper
from .constructor import MergedGroupsConstructor
from .lars import LARS
from .linear_probe_constructor import LinearProbeConstructor
from .per_parameter_clip import (PerParameterClipAmpOptimWrapper,
                                 PerParameterClipMixin,
                                 PerParameterClipOptimWrapper)

__all__ = [
    'BackboneLayerDecayConstructor', 'LARS', 'LinearProbeConstructor',
    'MergedGroupsConstructor', 'PerParameterClipAmpOptimWrapper',
    'PerParameterClipBFloat16OptimWrapper', 'PerParameterClipMixin',
    'PerParameterClipOptimWrapper'
]
