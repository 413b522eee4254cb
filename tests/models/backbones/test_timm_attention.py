"""Attention, keys and blocks of timm's models, by timm's own numbers."""
import numpy as np
import pytest
import torch
from timm.layers import set_fused_attn
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.utils import AttentionExtract

from mmdino.apis import AttentionVisualizer, FeatureExtractor
from mmdino.models import FrozenTeacher, TimmBackbone

VIT = dict(depth=2, embed_dim=48, num_heads=3)
VITS = dict(
    vit_tiny_patch16_224={},
    vit_small_patch14_reg4_dinov2={},
    vit_small_patch16_dinov3={},
    vit_small_patch16_dinov3_qkvb={},
    vit_small_patch16_rope_mixed_224={},
    eva02_tiny_patch14_224=dict(global_pool='token'),
    deit_tiny_distilled_patch16_224={},
    beit_base_patch16_224=dict(global_pool='token'))


def build(name, **kwargs):
    torch.manual_seed(0)
    backbone = TimmBackbone(name, **kwargs)
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter, std=.1)
    backbone.eval()
    return backbone


def images_for(backbone):
    """Not square where the model takes more than one size."""
    if 'beit' in backbone.model_name:
        return torch.randn(2, 3, *backbone.img_size)
    patch = backbone.patch_size
    return torch.randn(2, 3, 3 * patch, 4 * patch)


def timms_attention(backbone, images):
    """By timm's AttentionExtract, of a model built without fused kernels."""
    set_fused_attn(False)
    try:
        model = type(backbone)(backbone.model_name, **backbone.kwargs)
    finally:
        set_fused_attn(True)
    model.load_state_dict(backbone.state_dict())
    model.eval()
    kind = 'cls_attn_blocks' if 'xcit' in backbone.model_name else 'blocks'
    extract = AttentionExtract(
        model.model, names=[f'{kind}.1.attn.attn_drop'], method='hook')
    weights, = extract(images).values()
    return weights


@pytest.mark.parametrize('name', [*VITS, 'xcit_nano_12_p16_224'])
@torch.no_grad()
def test_attention_is_timms(name):
    kwargs = dict(VIT, **VITS[name]) if name in VITS else dict(depth=2)
    backbone = build(name, **kwargs)
    backbone.kwargs = kwargs
    images = images_for(backbone)
    grid = tuple(side // backbone.patch_size for side in images.shape[-2:])
    assert backbone.patch_grid(images) == grid
    weights = timms_attention(backbone, images)
    extra = backbone.num_extra_tokens
    wanted = weights[:, :, 0, extra:].unflatten(-1, grid)
    maps = backbone.class_attention(images)
    torch.testing.assert_close(maps, wanted, rtol=1e-5, atol=1e-7)
    assert not maps[0].equal(maps[1])
    with backbone.recorded_attention() as recorded:
        features, = backbone(images)
        assert len(recorded) == 1
        backbone(images.flip(0))
    torch.testing.assert_close(recorded[0], maps)
    torch.testing.assert_close(recorded[1], maps.flip(0))
    torch.testing.assert_close(backbone(images)[0], features)


@torch.no_grad()
def test_attention_and_keys_of_dinov3_by_hand():
    backbone = build('vit_small_patch16_dinov3', **VIT)
    images = images_for(backbone)
    model, seen = backbone.model, []
    block = model.blocks[-1]
    hook = block.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((args[0], kwargs['rope'])),
        with_kwargs=True)
    model.forward_features(images)
    hook.remove()
    tokens, rope = seen[0]
    qkv = block.attn.qkv(block.norm1(tokens))
    query, key, _ = qkv.unflatten(-1, (3, 3, 16)).permute(2, 0, 3, 1, 4)
    torch.testing.assert_close(
        backbone.last_keys(images),
        key.transpose(1, 2).flatten(2))
    half = getattr(block.attn, 'rotate_half', False)
    key[:, :, 5:] = apply_rot_embed_cat(key[:, :, 5:], rope, half=half)
    weights = (query[:, :, 0:1] @ key.transpose(-2, -1) / 4).softmax(-1)
    torch.testing.assert_close(
        backbone.class_attention(images), weights[:, :, 0,
                                                  5:].unflatten(-1, (3, 4)))


@pytest.mark.parametrize('name', VITS)
@torch.no_grad()
def test_last_blocks(name):
    backbone = build(name, **VIT, **VITS[name])
    images = images_for(backbone)
    first, last = backbone.last_blocks(images, 2)
    assert backbone.num_layers == 2
    torch.testing.assert_close(last, backbone.tokens(images))
    assert not first.allclose(last)
    assert backbone.last_blocks(images)[0].equal(last)


@pytest.mark.parametrize('name, message', [
    ('convnext_tiny.dinov3_lvd1689m', 'gives no tokens: it has no class'),
    ('resnet10t', 'gives no tokens'),
    ('swin_tiny_patch4_window7_224', 'gives no tokens'),
    ('vit_base_patch16_siglip_224', 'gives no tokens'),
])
def test_networks_without_attention_say_so(name, message):
    with torch.device('meta'):
        backbone = TimmBackbone(name)
    for ask in (backbone.require_attention, backbone.require_blocks,
                backbone.require_keys, backbone.require_patches):
        with pytest.raises(ValueError, match=f"timm's {name}.*{message}"):
            ask()


def test_an_xcit_shows_no_blocks_and_no_keys():
    backbone = build('xcit_nano_12_p16_224', depth=2)
    for ask in (backbone.require_blocks, backbone.require_keys):
        with pytest.raises(
                ValueError, match='not give the class token of each'):
            ask()


def test_through_the_tools_for_users():
    cfg = dict(
        type='mmdino.TimmBackbone',
        model_name='vit_small_patch16_dinov3',
        global_pool='token',
        **VIT)
    teacher = FrozenTeacher(backbone=cfg)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    maps, = AttentionVisualizer(teacher, size=48)([image])
    assert maps.shape == (3, 3, 3)
    tokens, = FeatureExtractor(teacher, what='tokens', size=48)([image])
    patches, = FeatureExtractor(teacher, what='patches', size=48)([image])
    assert patches.shape == (3, 4, 48) and tokens.shape == (17, 48)
    torch.testing.assert_close(patches.flatten(0, 1), tokens[5:])
    convnext = FrozenTeacher(
        backbone=dict(
            type='mmdino.TimmBackbone',
            model_name='convnext_atto',
            dims=(8, 8, 8, 8),
            depths=(1, 1, 1, 1)))
    with pytest.raises(ValueError, match='convnext_atto gives no tokens'):
        AttentionVisualizer(convnext)
    with pytest.raises(ValueError, match='convnext_atto gives no tokens'):
        FeatureExtractor(convnext, what='patches')
