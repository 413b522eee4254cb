from mmdino.models.backbones import (ConvStem, ResNet, TimmBackbone,
                                     TimmFeatureMaps, VisionTransformer,
                                     WindowedVisionTransformer)
from mmdino.models.centerings import (BatchSoftmax, MeanCentering, NoCentering,
                                      SinkhornKnopp)
from mmdino.models.chunked_dino import ChunkedDINO
from mmdino.models.data_preprocessor import MultiViewDataPreprocessor
from mmdino.models.dino import DINO
from mmdino.models.frozen import (FrozenTeacher, LinearProbe, PixelFeatures,
                                  PretrainedClassifier, SavedFeatures,
                                  VideoSegmenter)
from mmdino.models.heads import DINOHead, MLPHead, Predictor
from mmdino.models.losses import DINOLoss, InfoNCELoss, MSELoss
from mmdino.models.predictor_dino import PredictorDINO

__all__ = [
    'BatchSoftmax', 'ChunkedDINO', 'ConvStem', 'DINO', 'DINOHead', 'DINOLoss',
    'FrozenTeacher', 'InfoNCELoss', 'LinearProbe', 'MLPHead', 'MSELoss',
    'MeanCentering', 'MultiViewDataPreprocessor', 'NoCentering',
    'PixelFeatures', 'Predictor', 'PredictorDINO', 'PretrainedClassifier',
    'ResNet', 'SavedFeatures', 'SinkhornKnopp', 'TimmBackbone',
    'TimmFeatureMaps', 'VideoSegmenter', 'VisionTransformer',
    'WindowedVisionTransformer'
]
