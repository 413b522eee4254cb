"""torchvision's ResNet without its classifier ``fc``."""
from .architecture import family
from .mmdino import backbone_of, from_backbone
from .names import CheckpointError, StateDict, rename
from .resnet_names import RESNET_NAMES


def from_torchvision(state: StateDict) -> StateDict:
    return from_backbone(rename(state, RESNET_NAMES, "torchvision's ResNet"))


def to_torchvision(state: StateDict) -> StateDict:
    backbone = backbone_of(state)
    if family(backbone) != 'resnet':
        raise CheckpointError(
            "torchvision's ResNet has no place for a "
            f'{family(backbone)}: convert to timm, mmpretrain or official.')
    return rename(backbone, RESNET_NAMES, "torchvision's ResNet")
