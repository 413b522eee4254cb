"""Do another library's implementation and ours compute the same?

The networks of other libraries are filled from their own state dicts. The
authors' networks are not a library: an independent implementation stands in
for theirs, with their way to resize position embeddings.
"""
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

import timm
import torch
import torchvision
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from mmdino.models.backbones.vision_transformer import resize_pos_embed
from mmdino.models.embedding import embed
from mmdino.registry import MODELS
from mmdino.utils.resources import require
from mmdino.weights.formats import FORMATS
from mmdino.weights.formats.hf import vit_config
from mmdino.weights.formats.official import from_official
from mmdino.weights.formats.ours import backbone_of, from_backbone
from mmdino.weights.formats.timm import to_timm
from mmdino.weights.infer import backbone_cfg, family
from mmdino.weights.keys import StateDict, strip_prefix

# How each implementation resizes position embeddings.
POS_EMBED_MODES = dict(
    official='offset',
    mmdino='offset',
    mmpretrain='size',
    timm='antialias',
    hf='size')


class Difference(NamedTuple):
    """The largest difference of features, at images of a size."""
    size: Tuple[int, int]
    largest: float


def differences(state: StateDict,
                format_: str,
                num_heads: Optional[int] = None) -> Iterator[Difference]:
    """Compare features of random images of several sizes, in float32.

    Args:
        state: Tensors with our names, as ``convert`` gives for mmdino. The
            teacher's backbone is looked at.
        format_: The other implementation, a key of ``FORMATS``. A ViT of
            ours resizes its position embeddings as that one does.
        num_heads: Attention heads of a ViT, by default D / 64.

    Yields:
        Difference: For each size; the first is the stored one.
    """
    backbone = {
        key: value.float() if value.is_floating_point() else value
        for key, value in backbone_of(state).items()
    }
    cfg = backbone_cfg(backbone, num_heads)
    build = IMPLEMENTATIONS[family(backbone), format_]
    theirs = build(FORMATS[format_].to_(from_backbone(backbone)), cfg)
    ours = our_features(backbone, cfg, format_)
    generator = torch.Generator().manual_seed(0)
    for size in image_sizes(cfg):
        images = torch.randn(
            2, cfg.get('in_channels', 3), *size, generator=generator)
        with torch.no_grad():
            gap = (ours(images) - theirs(images)).abs().max()
        yield Difference(size, float(gap))


def our_features(backbone: StateDict, cfg: dict,
                 format_: str) -> Callable[[Tensor], Tensor]:
    """Our network, images (B, C, H, W) to features (B, D)."""
    if cfg['type'] == 'mmdino.VisionTransformer':
        cfg = dict(cfg, pos_embed_mode=POS_EMBED_MODES[format_])
    network = nn.ModuleDict(dict(backbone=MODELS.build(cfg)))
    network['backbone'].load_state_dict(backbone)
    if cfg['type'] == 'mmpretrain.ResNet':
        network['neck'] = MODELS.build(
            dict(type='mmpretrain.GlobalAveragePooling'))
    network.eval()
    return lambda images: embed(network, images)


def image_sizes(cfg: Dict[str, Any]) -> Iterator[Tuple[int, int]]:
    """Stored, smaller, wide and larger: (H, W) in pixels."""
    side = cfg.get('img_size', 224)
    patch = cfg.get('patch_size', 16)
    half = side // 2 // patch * patch
    yield side, side
    yield half, half
    yield side - patch, side + patch
    yield side + 2 * patch, side + 2 * patch


Features = Callable[[Tensor], Tensor]


def timm_vit(state: StateDict, cfg: dict) -> nn.Module:
    arch = cfg['arch']
    vit = VisionTransformer(
        img_size=cfg['img_size'],
        patch_size=cfg['patch_size'],
        in_chans=cfg['in_channels'],
        embed_dim=arch['embed_dims'],
        depth=arch['num_layers'],
        num_heads=arch['num_heads'],
        mlp_ratio=arch['feedforward_channels'] / arch['embed_dims'],
        qkv_bias=cfg['qkv_bias'],
        num_classes=0,
        dynamic_img_size=True)
    return _filled(vit, state)


def official_vit(state: StateDict, cfg: dict) -> Features:
    """timm's, at each size with embeddings resized as the authors do."""
    patch = cfg['patch_size']
    stored = (cfg['img_size'] // patch, ) * 2
    vit = timm_vit(state, cfg)

    def features(images: Tensor) -> Tensor:
        size = tuple(images.shape[-2:])
        grid = tuple(side // patch for side in size)
        vit.patch_embed.set_input_size(size)
        vit.pos_embed = nn.Parameter(
            resize_pos_embed(state['pos_embed'], stored, grid))
        return vit(images)

    return features


def timm_xcit(state: StateDict, cfg: dict) -> nn.Module:
    return _filled(timm.create_model(cfg['model_name'], num_classes=0), state)


def official_xcit(state: StateDict, cfg: dict) -> nn.Module:
    return timm_xcit(to_timm(from_official(state)), cfg)


def timm_resnet(state: StateDict, cfg: dict) -> nn.Module:
    name = f'resnet{cfg["depth"]}'
    return _filled(timm.create_model(name, num_classes=0), state)


def torchvision_resnet(state: StateDict, cfg: dict) -> nn.Module:
    resnet = getattr(torchvision.models, f'resnet{cfg["depth"]}')()
    resnet.fc = nn.Identity()
    return _filled(resnet, state)


def hf_vit(state: StateDict, cfg: dict) -> Features:
    require('Checking the format hf', 'transformers')
    import transformers

    vit, info = transformers.ViTModel.from_pretrained(
        None,
        config=transformers.ViTConfig(**vit_config(cfg)),
        state_dict=state,
        add_pooling_layer=False,
        output_loading_info=True)
    problems = {kind: keys for kind, keys in info.items() if keys}
    if problems:
        raise RuntimeError(f'transformers loads this with {problems}.')
    vit.eval()
    return lambda images: vit(
        images, interpolate_pos_encoding=True).last_hidden_state[:, 0]


def mmpretrain_vit(state: StateDict, cfg: dict) -> Features:
    vit = MODELS.build(dict(cfg, type='mmpretrain.VisionTransformer'))
    return _last(vit, strip_prefix(state, 'backbone.'))


def mmpretrain_xcit(state: StateDict, cfg: dict) -> Features:
    twin = timm.create_model(cfg['model_name'], num_classes=0)
    patch = int(cfg['model_name'].split('_p')[1].split('_')[0])
    xcit = MODELS.build(
        dict(
            type='mmpretrain.XCiT',
            patch_size=patch,
            embed_dims=twin.embed_dim,
            depth=len(twin.blocks),
            num_heads=twin.blocks[0].attn.num_heads,
            tokens_norm=twin.cls_attn_blocks[0].tokens_norm,
            out_type='cls_token'))
    return _last(xcit, strip_prefix(state, 'backbone.'))


def mmpretrain_resnet(state: StateDict, cfg: dict) -> Features:
    maps = _last(MODELS.build(cfg), strip_prefix(state, 'backbone.'))
    return lambda images: maps(images).mean((2, 3))


def mmdino_backbone(state: StateDict, cfg: dict) -> Features:
    """Ours, from our own file."""
    backbone = _last(MODELS.build(cfg), backbone_of(state))

    def features(images: Tensor) -> Tensor:
        out = backbone(images)
        return out.mean((2, 3)) if out.ndim == 4 else out

    return features


def _last(module: nn.Module, state: StateDict) -> Features:
    """The last of the outputs."""
    module = _filled(module, state)
    return lambda images: module(images)[-1]


def _filled(module: nn.Module, state: StateDict) -> nn.Module:
    module.load_state_dict(state)
    module.eval()
    return module


# By architecture and format.
IMPLEMENTATIONS: Dict[tuple, Callable[[StateDict, dict], Features]] = {
    ('vit', 'official'): official_vit,
    ('vit', 'mmdino'): mmdino_backbone,
    ('vit', 'mmpretrain'): mmpretrain_vit,
    ('vit', 'timm'): timm_vit,
    ('vit', 'hf'): hf_vit,
    ('xcit', 'official'): official_xcit,
    ('xcit', 'mmdino'): mmdino_backbone,
    ('xcit', 'mmpretrain'): mmpretrain_xcit,
    ('xcit', 'timm'): timm_xcit,
    ('resnet', 'official'): torchvision_resnet,
    ('resnet', 'mmdino'): mmdino_backbone,
    ('resnet', 'mmpretrain'): mmpretrain_resnet,
    ('resnet', 'timm'): timm_resnet,
    ('resnet', 'torchvision'): torchvision_resnet,
}
