from .attention_jaccard import AttentionJaccard
from .knn_accuracy import KNNAccuracy
from .linear_probe_accuracy import LinearProbeAccuracy

__all__ = ['AttentionJaccard', 'KNNAccuracy', 'LinearProbeAccuracy']
