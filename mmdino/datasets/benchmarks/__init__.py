"""Benchmarks in the layouts in which they are distributed."""
from mmdino.datasets.benchmarks.copydays import Copydays
from mmdino.datasets.benchmarks.inaturalist import INaturalist
from mmdino.datasets.benchmarks.masks import DAVIS, VOCObjects
from mmdino.datasets.benchmarks.revisited import RevisitedImages
from mmdino.datasets.benchmarks.segmentation import SegmentedImages, VOCClasses
from mmdino.datasets.benchmarks.voc_boxes import VOCBoxes
