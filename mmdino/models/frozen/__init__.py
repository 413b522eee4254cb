"""Uses of a trained teacher that do not train it."""
from mmdino.models.frozen.baselines import PixelFeatures, SavedFeatures
from mmdino.models.frozen.classifier import PretrainedClassifier
from mmdino.models.frozen.features import (ClassAndPatchFeatures, LastBlocks,
                                           PooledFeatures)
from mmdino.models.frozen.linear_probe import LinearProbe
from mmdino.models.frozen.video_segmentation import VideoSegmentationDINO

__all__ = [
    'ClassAndPatchFeatures', 'LastBlocks', 'LinearProbe', 'PixelFeatures',
    'PooledFeatures', 'PretrainedClassifier', 'SavedFeatures',
    'VideoSegmentationDINO'
]
