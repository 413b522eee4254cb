from .functional import (KNNPrediction, attention_jaccard, knn_predict,
                         mass_threshold, merge_neighbours, nearest_neighbours,
                         vote, weighted_vote)
from .gallery import Gallery
from .metrics import AttentionJaccard, DAVISMetric, KNNAccuracy

__all__ = [
    'AttentionJaccard', 'DAVISMetric', 'Gallery', 'KNNAccuracy',
    'KNNPrediction', 'attention_jaccard', 'knn_predict', 'mass_threshold',
    'merge_neighbours', 'nearest_neighbours', 'vote', 'weighted_vote'
]
