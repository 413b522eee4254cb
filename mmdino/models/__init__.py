from .backbones import ConvStem, TimmBackbone, VisionTransformer
from .baselines import PixelFeatures
from .centerings import MeanCentering
from .copy_detection import CopyDetectionDINO
from .data_preprocessor import MultiViewDataPreprocessor
from .dino import DINO
from .heads import DINOHead
from .losses import DINOLoss
from .retrieval import MultiScaleDINO

__all__ = [
    'ConvStem', 'CopyDetectionDINO', 'DINO', 'DINOHead', 'DINOLoss',
    'MeanCentering', 'MultiScaleDINO', 'MultiViewDataPreprocessor',
    'PixelFeatures', 'TimmBackbone', 'VisionTransformer'
]
