"""mmpretrain's ResNet, for transfer."""
from mmpretrain.models.backbones import ResNet as _ResNet

from mmdino.registry import MODELS
from ..pretrained import StrictPretrained


@MODELS.register_module()
class ResNet(StrictPretrained, _ResNet):
    """mmpretrain's ``ResNet`` that loads all pretrained weights or raises."""
