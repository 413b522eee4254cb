from .backbones import (ConvStem, ResNet, TimmBackbone, TimmFeatureMaps,
                        VisionTransformer, WindowedVisionTransformer)
from .baselines import PixelFeatures, SavedFeatures
from .centerings import BatchSoftmax, MeanCentering, NoCentering, SinkhornKnopp
from .chunked_dino import ChunkedDINO
from .copy_detection import CopyDetectionDINO
from .data_preprocessor import MultiViewDataPreprocessor
from .dino import DINO
from .heads import DINOHead, MLPHead, Predictor
from .losses import DINOLoss, InfoNCELoss, MSELoss
from .predictor_dino import PredictorDINO
from .pretrained_classifier import PretrainedClassifier
from .probes import LinearProbe
from .retrieval import MultiScaleDINO
from .video_segmentation_dino import VideoSegmentationDINO

__all__ = [
    'BatchSoftmax', 'ChunkedDINO', 'ConvStem', 'CopyDetectionDINO', 'DINO',
    'DINOHead', 'DINOLoss', 'InfoNCELoss', 'LinearProbe', 'MLPHead', 'MSELoss',
    'MeanCentering', 'MultiScaleDINO', 'MultiViewDataPreprocessor',
    'NoCentering', 'PixelFeatures', 'Predictor', 'PredictorDINO',
    'PretrainedClassifier', 'ResNet', 'SavedFeatures', 'SinkhornKnopp',
    'TimmBackbone', 'TimmFeatureMaps', 'VideoSegmentationDINO',
    'VisionTransformer', 'WindowedVisionTransformer'
]
