"""Parts for MMDetection; to import them needs nothing of it."""
from .rescaled_maps import RescaledMaps
from .simple_feature_pyramid import SimpleFeaturePyramid

__all__ = ['RescaledMaps', 'SimpleFeaturePyramid']
