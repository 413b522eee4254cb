from .attention_jaccard import AttentionJaccard
from .copy_detection_map import CopyDetectionMAP
from .davis_metric import DAVISMetric
from .knn_accuracy import KNNAccuracy
from .linear_probe_accuracy import LinearProbeAccuracy
from .low_shot_accuracy import LowShotAccuracy
from .retrieval_map import RetrievalMAP
from .save_features import SaveFeatures

__all__ = [
    'AttentionJaccard', 'CopyDetectionMAP', 'DAVISMetric', 'KNNAccuracy',
    'LinearProbeAccuracy', 'LowShotAccuracy', 'RetrievalMAP', 'SaveFeatures'
]
