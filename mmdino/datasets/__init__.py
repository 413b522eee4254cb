"""Data sets of images and the transforms that make views of them."""
from mmdino.datasets.benchmarks import (DAVIS, Copydays, INaturalist,
                                        RevisitedImages, SegmentedImages,
                                        VOCBoxes, VOCClasses, VOCObjects)
from mmdino.datasets.composed import ConcatDataset, HeldOut
from mmdino.datasets.feature_rows import FeatureRows
from mmdino.datasets.hugging_face import HuggingFaceImages
from mmdino.datasets.images import Images
from mmdino.datasets.listing import ZipBackend
from mmdino.datasets.seeded import SampleKey, SeededDataset, SeededSampler
from mmdino.datasets.shape_scenes import ShapeScenes, ShapeSegmentation
from mmdino.datasets.shard_sampler import ShardSampler
from mmdino.datasets.shards import Shards
from mmdino.datasets.transforms import MultiCrop
