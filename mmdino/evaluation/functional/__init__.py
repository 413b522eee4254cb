from .attention import attention_jaccard, mass_threshold
from .davis import (FrameStatistics, contour, contour_accuracy,
                    frame_statistics, region_similarity, score_sequence)
from .knn import (KNNPrediction, knn_predict, merge_neighbours,
                  nearest_neighbours, vote, weighted_vote)
from .label_propagation import labels_to_mask, mask_to_labels, propagate_labels
from .low_shot import logistic_regression

__all__ = [
    'FrameStatistics', 'KNNPrediction', 'attention_jaccard', 'contour',
    'contour_accuracy', 'frame_statistics', 'knn_predict', 'labels_to_mask',
    'logistic_regression', 'mask_to_labels', 'mass_threshold',
    'merge_neighbours', 'nearest_neighbours', 'propagate_labels',
    'region_similarity', 'score_sequence', 'vote', 'weighted_vote'
]
