from .backbones import ConvStem, ResNet, TimmBackbone, VisionTransformer
from .baselines import PixelFeatures, SavedFeatures
from .centerings import MeanCentering
from .chunked_dino import ChunkedDINO
from .copy_detection import CopyDetectionDINO
from .data_preprocessor import MultiViewDataPreprocessor
from .dino import DINO
from .heads import DINOHead
from .losses import DINOLoss
from .pretrained_classifier import PretrainedClassifier
from .probes import LinearProbe
from .retrieval import MultiScaleDINO
from .video_segmentation_dino import VideoSegmentationDINO

__all__ = [
    'ChunkedDINO', 'ConvStem', 'CopyDetectionDINO', 'DINO', 'DINOHead',
    'DINOLoss', 'LinearProbe', 'MeanCentering', 'MultiScaleDINO',
    'MultiViewDataPreprocessor', 'PixelFeatures', 'PretrainedClassifier',
    'ResNet', 'SavedFeatures', 'TimmBackbone', 'VideoSegmentationDINO',
    'VisionTransformer'
]
