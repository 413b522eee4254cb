from mmdino.models.backbones.conv_stem import ConvStem
from mmdino.models.backbones.pretrained import ResNet
from mmdino.models.backbones.small_resnet import SmallResNet
from mmdino.models.backbones.timm_backbone import TimmBackbone, TimmFeatureMaps
from mmdino.models.backbones.vision_transformer import VisionTransformer
from mmdino.models.backbones.windowed_vision_transformer import \
    WindowedVisionTransformer
