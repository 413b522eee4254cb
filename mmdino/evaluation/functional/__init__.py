from .attention import attention_jaccard, mass_threshold
from .davis import (FrameStatistics, contour, contour_accuracy,
                    frame_statistics, region_similarity, score_sequence)
from .knn import (KNNPrediction, knn_predict, merge_neighbours,
                  nearest_neighbours, vote, weighted_vote)
from .label_propagation import labels_to_mask, mask_to_labels, propagate_labels
from .low_shot import logistic_regression
from .retrieval import (average_precision, mean_scores, positive_ranks,
                        precision_at, rank_gallery, score_query)
from .whitening import Whitening, learn_whitening, whiten

__all__ = [
    'FrameStatistics', 'KNNPrediction', 'Whitening', 'attention_jaccard',
    'average_precision', 'contour', 'contour_accuracy', 'frame_statistics',
    'knn_predict', 'labels_to_mask', 'learn_whitening', 'logistic_regression',
    'mask_to_labels', 'mass_threshold', 'mean_scores', 'merge_neighbours',
    'nearest_neighbours', 'positive_ranks', 'precision_at', 'propagate_labels',
    'rank_gallery', 'region_similarity', 'score_query', 'score_sequence',
    'vote', 'weighted_vote', 'whiten'
]
