from mmdino.engine.optim.clipping import (PerParameterClipAmpOptimWrapper,
                                          PerParameterClipBFloat16OptimWrapper,
                                          PerParameterClipMixin,
                                          PerParameterClipOptimWrapper)
from mmdino.engine.optim.constructors import (BackboneLayerDecayConstructor,
                                              LinearProbeConstructor,
                                              MergedGroupsConstructor)
from mmdino.engine.optim.lars import LARS

__all__ = [
    'BackboneLayerDecayConstructor', 'LARS', 'LinearProbeConstructor',
    'MergedGroupsConstructor', 'PerParameterClipAmpOptimWrapper',
    'PerParameterClipBFloat16OptimWrapper', 'PerParameterClipMixin',
    'PerParameterClipOptimWrapper'
]
