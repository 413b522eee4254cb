"""Uses of a trained teacher that do not train it."""
from mmdino.models.frozen.baselines import PixelFeatures, SavedFeatures
from mmdino.models.frozen.classifier import PretrainedClassifier
from mmdino.models.frozen.features import (BlocksAndMean, ClassAndGeMFeatures,
                                           ClassAndPatchFeatures, LastBlocks,
                                           MultiScaleFeatures, PooledFeatures)
from mmdino.models.frozen.frozen_teacher import FrozenTeacher
from mmdino.models.frozen.linear_probe import LinearProbe
from mmdino.models.frozen.object_finder import ObjectFinder
from mmdino.models.frozen.video_segmentation import VideoSegmenter
