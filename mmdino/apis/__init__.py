"""Python functions for trained networks."""
from mmdino.apis.feature_extractor import (AttentionVisualizer,
                                           FeatureExtractor, get_model,
                                           list_images)
from mmdino.apis.saved_features import SavedFeatures
from mmdino.weights import PublishedModel, list_models
