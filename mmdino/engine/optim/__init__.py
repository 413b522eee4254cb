from .constructor import MergedGroupsConstructor
from .lars import LARS
from .per_parameter_clip import (PerParameterClipAmpOptimWrapper,
                                 PerParameterClipOptimWrapper)

__all__ = [
    'LARS', 'MergedGroupsConstructor', 'PerParameterClipAmpOptimWrapper',
    'PerParameterClipOptimWrapper'
]
