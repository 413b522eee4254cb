"""Data sets of images and the transforms that make views of them."""
from .copydays import Copydays
from .davis import DAVIS
from .feature_rows import FeatureRows
from .images import Images
from .inaturalist import INaturalist
from .revisited import RevisitedImages
from .seeded import SampleKey, SeededDataset, SeededSampler
from .shape_scenes import ShapeScenes
from .shape_segmentation import ShapeSegmentation
from .transforms import MultiCrop
from .voc_objects import VOCObjects
from .zip_backend import ZipBackend

__all__ = [
    'Copydays', 'DAVIS', 'FeatureRows', 'INaturalist', 'Images', 'MultiCrop',
    'RevisitedImages', 'SampleKey', 'SeededDataset', 'SeededSampler',
    'ShapeScenes', 'ShapeSegmentation', 'VOCObjects', 'ZipBackend'
]
