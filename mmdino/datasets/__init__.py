"""Data sets of images and the transforms that make views of them."""
from .copydays import Copydays
from .images import Images
from .revisited import RevisitedImages
from .shape_scenes import ShapeScenes
from .transforms import MultiCrop
from .zip_backend import ZipBackend

__all__ = [
    'Copydays', 'Images', 'MultiCrop', 'RevisitedImages', 'ShapeScenes',
    'ZipBackend'
]
