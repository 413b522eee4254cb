from .attention_jaccard import AttentionJaccard
from .knn_accuracy import KNNAccuracy

__all__ = ['AttentionJaccard', 'KNNAccuracy']
