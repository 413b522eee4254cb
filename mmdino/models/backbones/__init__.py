from .conv_stem import ConvStem
from .resnet import ResNet
from .timm_backbone import TimmBackbone
from .timm_feature_maps import TimmFeatureMaps
from .vision_transformer import VisionTransformer
from .windowed_vision_transformer import WindowedVisionTransformer

__all__ = [
    'ConvStem', 'ResNet', 'TimmBackbone', 'TimmFeatureMaps',
    'VisionTransformer', 'WindowedVisionTransformer'
]
