from .attention import attention_jaccard, mass_threshold
from .knn import (KNNPrediction, knn_predict, merge_neighbours,
                  nearest_neighbours, vote, weighted_vote)

__all__ = [
    'KNNPrediction', 'attention_jaccard', 'knn_predict', 'mass_threshold',
    'merge_neighbours', 'nearest_neighbours', 'vote', 'weighted_vote'
]
