from .functional import (KNNPrediction, attention_jaccard, knn_predict,
                         mass_threshold, nearest_neighbours, weighted_vote)
from .metrics import AttentionJaccard, DAVISMetric, KNNAccuracy

__all__ = [
    'AttentionJaccard', 'DAVISMetric', 'KNNAccuracy', 'KNNPrediction',
    'attention_jaccard', 'knn_predict', 'mass_threshold', 'nearest_neighbours',
    'weighted_vote'
]
