from .backbones import ConvStem, TimmBackbone, VisionTransformer
from .baselines import PixelFeatures
from .centerings import MeanCentering
from .data_preprocessor import MultiViewDataPreprocessor
from .dino import DINO
from .heads import DINOHead
from .losses import DINOLoss
from .probes import LinearProbe

__all__ = [
    'ConvStem', 'DINO', 'DINOHead', 'DINOLoss', 'LinearProbe',
    'MeanCentering', 'MultiViewDataPreprocessor', 'PixelFeatures', 'TimmBackbone',
    'VisionTransformer'
]
