"""Evaluation loops with a gallery, and the metrics."""
from mmdino.evaluation.base import Gallery
from mmdino.evaluation.dense import DenseTestLoop
from mmdino.evaluation.gallery import GalleryTestLoop, GalleryValLoop
from mmdino.evaluation.metrics import (AttentionJaccard, CopyDetectionMAP,
                                       DAVISMetric, KNNAccuracy,
                                       LinearProbeAccuracy, LowShotAccuracy,
                                       RetrievalMAP, SaveFeatures)
