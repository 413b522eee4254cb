from .attention_jaccard import AttentionJaccard
from .davis_metric import DAVISMetric
from .knn_accuracy import KNNAccuracy

__all__ = ['AttentionJaccard', 'DAVISMetric', 'KNNAccuracy']
