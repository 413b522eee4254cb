from mmdino.models.backbones import (ConvStem, ResNet, SmallResNet,
                                     TimmBackbone, TimmFeatureMaps,
                                     VisionTransformer,
                                     WindowedVisionTransformer)
from mmdino.models.centerings import (Centering, MeanCentering, NoCentering,
                                      SinkhornKnopp)
from mmdino.models.data_preprocessor import MultiViewDataPreprocessor
from mmdino.models.dino import DINO
from mmdino.models.frozen import (FrozenTeacher, LinearProbe, PixelFeatures,
                                  PretrainedClassifier, SavedFeatures,
                                  VideoSegmenter)
from mmdino.models.heads import DINOHead, MLPHead, Predictor
from mmdino.models.losses import DINOLoss, InfoNCELoss, MSELoss
