"""Tokens and masks of timm's models."""
import copy

import pytest
import torch

from mmdino.models import TimmBackbone, TimmFeatureMaps

VIT = dict(depth=2, embed_dim=48, num_heads=3)
# Embeddings of positions, or rotations by them; registers.
MODELS = dict(
    vit_tiny_patch16_224=1,
    vit_small_patch14_reg4_dinov2=5,
    vit_small_patch16_dinov3=5,
    deit_tiny_distilled_patch16_224=2)


def build(name, cls=TimmBackbone, **kwargs):
    backbone = cls(name, **dict(VIT, **kwargs))
    torch.nn.init.normal_(backbone.model.cls_token)
    if backbone.mask_token is not None:
        torch.nn.init.normal_(backbone.mask_token)
    backbone.eval()
    return backbone


@pytest.mark.parametrize('name, extra', MODELS.items())
@torch.no_grad()
def test_tokens_and_masks(name, extra):
    backbone = build(name, with_mask_token=True)
    patch = backbone.model.patch_embed.patch_size[0]
    images = torch.randn(2, 3, 2 * patch, 3 * patch)
    assert backbone.patch_grid(images) == (2, 3)
    tokens = backbone.tokens(images)
    assert tokens.shape == (2, extra + 6, 48)
    assert backbone.num_extra_tokens == extra
    assert tokens.equal(backbone.model.forward_features(images))
    mask = torch.zeros(2, 6, dtype=torch.bool)
    assert backbone.tokens(images, mask).equal(tokens)
    mask[0, 4] = True  # the second row's second
    masked, = backbone(images, mask, out_type='raw')
    assert masked[1].equal(tokens[1]) and not masked[0].equal(tokens[0])
    other = images.clone()
    other[:, :, patch:, patch:2 * patch] = 0
    assert backbone.tokens(other, mask)[0].equal(masked[0])
    features, = backbone(images, mask)
    assert not features[0].equal(backbone(images)[0][0])
    assert backbone.tokens(images).equal(tokens)  # no mask is left


def test_the_class_token_of_dinov3():
    images = torch.randn(2, 3, 32, 48)
    backbone = build('vit_small_patch16_dinov3', global_pool='token')
    torch.testing.assert_close(
        backbone(images)[0],
        backbone.tokens(images)[:, 0])
    average = build('vit_small_patch16_dinov3')
    average.load_state_dict(backbone.state_dict())
    torch.testing.assert_close(
        average(images)[0],
        average.tokens(images)[:, 5:].mean(1))


@pytest.mark.parametrize('given', [False, True])
def test_the_mask_token_always_gets_a_gradient(given):
    backbone = build('vit_tiny_patch16_224', with_mask_token=True)
    mask = torch.zeros(2, 4, dtype=torch.bool) if given else None
    backbone.tokens(torch.randn(2, 3, 32, 32), mask).sum().backward()
    assert not backbone.mask_token.grad.any()


def test_a_copy_has_a_mask_token_of_its_own():
    backbone = build('vit_tiny_patch16_224', with_mask_token=True)
    images = torch.randn(2, 3, 32, 32)
    mask = torch.ones(2, 4, dtype=torch.bool)
    copied = copy.deepcopy(backbone)
    wanted = backbone.tokens(images, mask)
    torch.nn.init.constant_(backbone.mask_token, 7.)
    assert copied.tokens(images, mask).equal(wanted)
    assert not backbone.tokens(images, mask).equal(wanted)


def test_masked_maps():
    maps = build('vit_tiny_patch16_224', TimmFeatureMaps, with_mask_token=True)
    images = torch.randn(2, 3, 32, 48)
    mask = torch.rand(2, 6) < .5
    assert maps.tokens(images, mask).shape == (2, 7, 48)
    plain, masked = maps(images)[-1], maps(images, mask)[-1]
    assert plain.shape == masked.shape == (2, 48, 2, 3)
    assert not plain.equal(masked)


def test_tokens_of_an_xcit():
    backbone = TimmBackbone('xcit_nano_12_p16_224', depth=2)
    assert backbone.tokens(torch.randn(2, 3, 48, 32)).shape == (2, 7, 128)


@pytest.mark.parametrize('name, kwargs, message', [
    ('resnet10t', {}, 'no tokens: it has no class token'),
    ('swin_tiny_patch4_window7_224', {}, 'no tokens'),
    ('vit_base_patch16_siglip_224', {}, 'no tokens'),
    ('beit_base_patch16_224', VIT, "pools its .* global_pool='token'"),
])
def test_models_without_tokens_say_so(name, kwargs, message):
    with torch.device('meta'):
        backbone = TimmBackbone(name, **kwargs)
    images = torch.zeros(1, 3, *backbone.img_size, device='meta')
    with pytest.raises(ValueError, match=f"timm's {name}.*{message}"):
        backbone.tokens(images)
    with pytest.raises(ValueError, match=f"timm's {name}.*{message}"):
        TimmBackbone(name, with_mask_token=True, **kwargs)


def test_models_without_masks_say_so():
    with pytest.raises(
            ValueError, match="xcit_nano_12_p16_224 accepts no .*ConvPatch"):
        TimmBackbone('xcit_nano_12_p16_224', with_mask_token=True)
    images, mask = torch.zeros(1, 3, 32, 32), torch.zeros(1, 4).bool()
    with pytest.raises(
            ValueError, match='vit_tiny_patch16_224 was built without a mask'):
        build('vit_tiny_patch16_224').tokens(images, mask)


def test_errors():
    backbone = build('vit_tiny_patch16_224', with_mask_token=True)
    images, mask = torch.zeros(2, 3, 32, 32), torch.zeros(2, 4).bool()
    for wrong in (mask[:, :3], mask[:1], mask.int(), mask.view(2, 2, 2)):
        with pytest.raises(ValueError, match=r'bool of shape \(2, 4\), .*got'):
            backbone.tokens(images, wrong)
    with pytest.raises(ValueError, match="or 'raw', .* got 'featmap'"):
        backbone(images, out_type='featmap')
    dropping = build(
        'vit_tiny_patch16_224', with_mask_token=True, patch_drop_rate=.5)
    dropping.train()
    with pytest.raises(ValueError, match='2 tokens for 4 patches'):
        dropping.tokens(images, mask)
