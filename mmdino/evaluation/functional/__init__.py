from .attention import attention_jaccard, mass_threshold
from .knn import KNNPrediction, knn_predict, nearest_neighbours, weighted_vote

__all__ = [
    'KNNPrediction', 'attention_jaccard', 'knn_predict', 'mass_threshold',
    'nearest_neighbours', 'weighted_vote'
]
