"""Benchmarks in the layouts in which they are distributed."""
from mmdino.datasets.benchmarks.copydays import Copydays
from mmdino.datasets.benchmarks.inaturalist import INaturalist
from mmdino.datasets.benchmarks.objects import (DAVIS, SegmentedImages,
                                                VOCBoxes, VOCClasses,
                                                VOCObjects)
from mmdino.datasets.benchmarks.revisited import RevisitedImages
