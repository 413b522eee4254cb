from mmdino.models.backbones import (ConvStem, ResNet, TimmBackbone,
                                     TimmFeatureMaps, VisionTransformer,
                                     WindowedVisionTransformer)
from mmdino.models.centerings import (BatchSoftmax, MeanCentering, NoCentering,
                                      SinkhornKnopp)
from mmdino.models.chunked_dino import ChunkedDINO
from mmdino.models.copy_detection import CopyDetectionDINO
from mmdino.models.data_preprocessor import MultiViewDataPreprocessor
from mmdino.models.dino import DINO
from mmdino.models.frozen import (LinearProbe, PixelFeatures,
                                  PretrainedClassifier, SavedFeatures,
                                  VideoSegmentationDINO)
from mmdino.models.heads import DINOHead, MLPHead, Predictor
from mmdino.models.losses import DINOLoss, InfoNCELoss, MSELoss
from mmdino.models.predictor_dino import PredictorDINO
from mmdino.models.retrieval import MultiScaleDINO

__all__ = [
    'BatchSoftmax', 'ChunkedDINO', 'ConvStem', 'CopyDetectionDINO', 'DINO',
    'DINOHead', 'DINOLoss', 'InfoNCELoss', 'LinearProbe', 'MLPHead', 'MSELoss',
    'MeanCentering', 'MultiScaleDINO', 'MultiViewDataPreprocessor',
    'NoCentering', 'PixelFeatures', 'Predictor', 'PredictorDINO',
    'PretrainedClassifier', 'ResNet', 'SavedFeatures', 'SinkhornKnopp',
    'TimmBackbone', 'TimmFeatureMaps', 'VideoSegmentationDINO',
    'VisionTransformer', 'WindowedVisionTransformer'
]
