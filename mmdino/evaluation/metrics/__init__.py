from .attention_jaccard import AttentionJaccard
from .davis_metric import DAVISMetric
from .knn_accuracy import KNNAccuracy
from .linear_probe_accuracy import LinearProbeAccuracy
from .low_shot_accuracy import LowShotAccuracy
from .save_features import SaveFeatures

__all__ = [
    'AttentionJaccard', 'DAVISMetric', 'KNNAccuracy', 'LinearProbeAccuracy',
    'LowShotAccuracy', 'SaveFeatures'
]
