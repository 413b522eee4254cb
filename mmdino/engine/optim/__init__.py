from mmdino.engine.optim.clipping import (PerParameterClipAmpOptimWrapper,
                                          PerParameterClipBFloat16OptimWrapper,
                                          PerParameterClipMixin,
                                          PerParameterClipOptimWrapper)
from mmdino.engine.optim.constructors import (BackboneLayerDecayConstructor,
                                              LinearProbeConstructor,
                                              MergedGroupsConstructor)
from mmdino.engine.optim.lars import LARS
from mmdino.engine.optim.warmup_cosine import WarmupCosine
