"""Benchmarks in the layouts in which they are distributed."""
from mmdino.datasets.benchmarks.copydays import Copydays
from mmdino.datasets.benchmarks.davis import DAVIS
from mmdino.datasets.benchmarks.inaturalist import INaturalist
from mmdino.datasets.benchmarks.revisited import RevisitedImages
from mmdino.datasets.benchmarks.voc_objects import VOCObjects
