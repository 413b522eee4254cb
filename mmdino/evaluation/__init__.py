from .feature_file import Features, load_features, save_features
from .functional import (KNNPrediction, attention_jaccard, knn_predict,
                         logistic_regression, mass_threshold, merge_neighbours,
                         nearest_neighbours, vote, weighted_vote)
from .gallery import Gallery
from .metrics import (AttentionJaccard, CopyDetectionMAP, DAVISMetric,
                      KNNAccuracy, LowShotAccuracy, RetrievalMAP, SaveFeatures)

__all__ = [
    'AttentionJaccard', 'CopyDetectionMAP', 'DAVISMetric', 'Features',
    'Gallery', 'KNNAccuracy', 'KNNPrediction', 'LowShotAccuracy',
    'RetrievalMAP', 'SaveFeatures', 'attention_jaccard', 'knn_predict',
    'load_features', 'logistic_regression', 'mass_threshold',
    'merge_neighbours', 'nearest_neighbours', 'save_features', 'vote',
    'weighted_vote'
]
