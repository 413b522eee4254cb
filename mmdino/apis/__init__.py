from mmdino.apis.feature_extractor import AttentionVisualizer, FeatureExtractor
from mmdino.apis.images import list_images
from mmdino.apis.models import PublishedModel, get_model, list_models

__all__ = [
    'AttentionVisualizer', 'FeatureExtractor', 'PublishedModel', 'get_model',
    'list_images', 'list_models'
]
