"""ResNets for images of 32 px, small enough to train on a CPU."""
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmpretrain.models.backbones import ResNet_CIFAR
from mmpretrain.models.backbones.resnet import BasicBlock
from torch import nn

from mmdino.models.backbones.pretrained import StrictPretrained
from mmdino.registry import MODELS


@MODELS.register_module()
class SmallResNet(StrictPretrained, ResNet_CIFAR):
    """mmpretrain's ``ResNet_CIFAR``, with a depth of 10 as well.

    He et al. 2016 (arXiv 1512.03385). Its stem is a single 3 x 3 convolution
    of stride 2, which turns an image of 32 px into a map of 16 x 16. With
    stride 1, as in ``ResNet_CIFAR``, the first maps would take most of the
    time.

    Args:
        depth: 10, with one block in each of four stages, or a depth of
            mmpretrain's ``ResNet_CIFAR``: 18, 34, 50, 101 or 152.
        img_size: Height and width in pixels of the training images, from which
            :class:`DINO` infers the width of the features. Images may have any
            size.
        **kwargs: Other arguments of mmpretrain's ``ResNet``, such as
            ``stem_channels`` and ``base_channels``, the width of the first
            stage, which doubles from stage to stage.
    """
    arch_settings = {
        10: (BasicBlock, (1, 1, 1, 1)),
        **ResNet_CIFAR.arch_settings
    }

    def __init__(self, depth: int, img_size: int = 32, **kwargs) -> None:
        super().__init__(depth, **kwargs)
        self.img_size = img_size

    def _make_stem_layer(self, in_channels: int, stem_channels: int) -> None:
        self.conv1 = build_conv_layer(
            self.conv_cfg,
            in_channels,
            stem_channels,
            kernel_size=3,
            stride=2,
            padding=1,
            bias=False)
        self.norm1_name, norm1 = build_norm_layer(
            self.norm_cfg, stem_channels, postfix=1)
        self.add_module(self.norm1_name, norm1)
        self.relu = nn.ReLU(inplace=True)
