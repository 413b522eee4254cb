from .attention_visualizer import AttentionVisualizer
from .feature_extractor import FeatureExtractor
from .images import list_images
from .model import get_model
from .zoo import PublishedModel, list_models

__all__ = [
    'AttentionVisualizer', 'FeatureExtractor', 'PublishedModel', 'get_model',
    'list_images', 'list_models'
]
