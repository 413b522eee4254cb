from mmdino.models.backbones import (ConvStem, ResNet, TimmBackbone,
                                     TimmFeatureMaps, VisionTransformer,
                                     WindowedVisionTransformer)
from mmdino.models.centerings import (Centering, MeanCentering, NoCentering,
                                      SinkhornKnopp)
from mmdino.models.copy_detection import CopyDetectionDINO
from mmdino.models.data_preprocessor import MultiViewDataPreprocessor
from mmdino.models.dino import DINO
from mmdino.models.frozen import (LinearProbe, PixelFeatures,
                                  PretrainedClassifier, SavedFeatures,
                                  VideoSegmentationDINO)
from mmdino.models.heads import DINOHead, MLPHead, Predictor
from mmdino.models.losses import DINOLoss, InfoNCELoss, MSELoss
from mmdino.models.retrieval import MultiScaleDINO

__all__ = [
    'Centering', 'ConvStem', 'CopyDetectionDINO', 'DINO', 'DINOHead',
    'DINOLoss', 'InfoNCELoss', 'LinearProbe', 'MLPHead', 'MSELoss',
    'MeanCentering', 'MultiScaleDINO', 'MultiViewDataPreprocessor',
    'NoCentering', 'PixelFeatures', 'Predictor', 'PretrainedClassifier',
    'ResNet', 'SavedFeatures', 'SinkhornKnopp', 'TimmBackbone',
    'TimmFeatureMaps', 'VideoSegmentationDINO', 'VisionTransformer',
    'WindowedVisionTransformer'
]
