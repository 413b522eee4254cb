from .linear_probe import LinearProbe
from .probe_features import ClassAndPatchFeatures, LastBlocks, PooledFeatures

__all__ = [
    'ClassAndPatchFeatures', 'LastBlocks', 'LinearProbe', 'PooledFeatures'
]
