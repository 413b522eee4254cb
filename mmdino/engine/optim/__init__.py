# yapf: disable
from mmdino.engine.optim.clipping import (ClipMixin,
                                          PerNetworkClipAmpOptimWrapper,
                                          PerNetworkClipBFloat16OptimWrapper,
                                          PerNetworkClipMixin,
                                          PerNetworkClipOptimWrapper,
                                          PerParameterClipAmpOptimWrapper,
                                          PerParameterClipBFloat16OptimWrapper,
                                          PerParameterClipMixin,
                                          PerParameterClipOptimWrapper)
# yapf: enable
from mmdino.engine.optim.constructors import (BackboneLayerDecayConstructor,
                                              LayerDecayConstructor,
                                              LinearProbeConstructor,
                                              MergedGroupsConstructor)
from mmdino.engine.optim.lars import LARS
from mmdino.engine.optim.warmup_cosine import WarmupCosine
