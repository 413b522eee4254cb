from .conv_stem import ConvStem
from .timm_backbone import TimmBackbone
from .vision_transformer import VisionTransformer

__all__ = ['ConvStem', 'TimmBackbone', 'VisionTransformer']
