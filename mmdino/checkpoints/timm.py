"""timm's ViT, XCiT and ResNet without their classifiers."""
from .architecture import family
from .mmdino import backbone_of, from_backbone
from .names import StateDict, flipped, prefixed, rename
from .resnet_names import RESNET_NAMES
from .vit_names import VIT_NAMES


def from_timm(state: StateDict) -> StateDict:
    return from_backbone(backbone_from_timm(state))


def to_timm(state: StateDict) -> StateDict:
    return backbone_to_timm(backbone_of(state))


def backbone_from_timm(state: StateDict) -> StateDict:
    """Our names for timm's."""
    if 'pos_embed.token_projection.weight' in state:
        return prefixed(state, 'model.')
    if 'layer1.0.conv1.weight' in state:
        return rename(state, RESNET_NAMES, "mmpretrain's ResNet")
    return rename(state, VIT_NAMES, "mmdino's VisionTransformer")


def backbone_to_timm(backbone: StateDict) -> StateDict:
    """timm's names for ours."""
    names = dict(
        vit=flipped(VIT_NAMES),
        xcit=[('model.{p}', '{p}')],
        resnet=RESNET_NAMES)
    return rename(backbone, names[family(backbone)], 'timm')
