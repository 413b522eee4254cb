"""Metrics of features, attention, masks and classifiers."""
from mmdino.evaluation.metrics.accuracy import (LinearProbeAccuracy,
                                                LowShotAccuracy)
from mmdino.evaluation.metrics.attention_jaccard import AttentionJaccard
from mmdino.evaluation.metrics.corloc import CenterBoxCorLoc, CorLoc
from mmdino.evaluation.metrics.davis import DAVISMetric, DAVISResultsHook
from mmdino.evaluation.metrics.knn_accuracy import KNNAccuracy
from mmdino.evaluation.metrics.patch_knn import PatchKNN
from mmdino.evaluation.metrics.rank import RankMe
from mmdino.evaluation.metrics.retrieval import CopyDetectionMAP, RetrievalMAP
from mmdino.evaluation.metrics.save_features import SaveFeatures
