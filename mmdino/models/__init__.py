from mmdino.models.anchor import AnchorLoss
from mmdino.models.backbones import (ConvStem, ResNet, SmallResNet,
                                     TimmBackbone, TimmFeatureMaps,
                                     VisionTransformer,
                                     WindowedVisionTransformer)
from mmdino.models.centerings import (Centering, MeanCentering, NoCentering,
                                      SinkhornKnopp)
from mmdino.models.data_preprocessor import MultiViewDataPreprocessor
from mmdino.models.dino import DINO, total_loss
from mmdino.models.dinov2 import DINOv2
from mmdino.models.distillation import Distillation
from mmdino.models.frozen import (FrozenTeacher, LinearProbe, ObjectFinder,
                                  PixelFeatures, PretrainedClassifier,
                                  SavedFeatures, VideoSegmenter)
from mmdino.models.heads import DINOHead, MLPHead, Predictor
from mmdino.models.koleo import KoLeoLoss
from mmdino.models.lora import LoRA, LoRALinear
from mmdino.models.losses import DINOLoss, IBOTLoss, InfoNCELoss, MSELoss
from mmdino.models.masking import BlockMasking, RandomMasking
from mmdino.models.mean_teacher import MeanTeacher
