from .attention import attention_jaccard, mass_threshold
from .knn import KNNPrediction, knn_predict, nearest_neighbours, weighted_vote
from .retrieval import (average_precision, mean_scores, positive_ranks,
                        precision_at, rank_gallery, score_query)
from .whitening import Whitening, learn_whitening, whiten

__all__ = [
    'KNNPrediction', 'Whitening', 'attention_jaccard', 'average_precision',
    'knn_predict', 'learn_whitening', 'mass_threshold', 'mean_scores',
    'nearest_neighbours', 'positive_ranks', 'precision_at', 'rank_gallery',
    'score_query', 'weighted_vote', 'whiten'
]
