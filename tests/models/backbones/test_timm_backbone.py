import pytest
import torch

from mmdino.models import TimmBackbone
from mmdino.models.embedding import embedding_width


@pytest.mark.parametrize('model_name,size,kwargs', [
    ('vit_tiny_patch16_224', 48, dict(depth=2)),
    ('resnet10t', 48, {}),
    ('xcit_nano_12_p16_224', 48, dict(depth=2)),
    ('convnext_atto', 64, dict(depths=(1, 1, 1, 1))),
])
def test_pooled_features_at_any_size(model_name, size, kwargs):
    backbone = TimmBackbone(model_name, **kwargs)
    backbone.eval()
    for images in (torch.randn(2, 3, size, size), torch.randn(1, 3, 96, size)):
        features, = backbone(images)
        assert features.shape == (len(images), backbone.embed_dims)
        alone, = backbone(images[:1])
        torch.testing.assert_close(features[:1], alone, rtol=1e-4, atol=1e-4)


def test_channels():
    backbone = TimmBackbone('resnet10t', in_channels=1)
    assert backbone(torch.randn(2, 1, 48, 48))[0].shape[0] == 2


@pytest.mark.parametrize('model_name, kwargs', [
    ('beit_base_patch16_224', dict(depth=1, embed_dim=24, num_heads=2)),
    ('cait_xxs24_224', dict(depth=1, embed_dim=24, num_heads=2)),
    ('mixer_s32_224', {}),
    ('levit_128s', {}),
])
def test_models_of_one_image_size_say_so(model_name, kwargs):
    backbone = TimmBackbone(model_name, **kwargs)
    backbone.eval()
    width = embedding_width(dict(backbone=backbone))
    features, = backbone(torch.zeros(1, 3, 224, 224))
    assert features.shape == (1, backbone.embed_dims) == (1, width)
    with pytest.raises(
            ValueError,
            match=fr"timm's {model_name}, built for .*\(224, 224\).* failed "
            r'on \(96, 96\)'):
        backbone(torch.zeros(1, 3, 96, 96))
    with pytest.raises((AssertionError, RuntimeError)):
        backbone(torch.zeros(1, 2, 224, 224))  # the size is not at fault


def test_models_that_widen_the_pooled_features():
    backbone = TimmBackbone('mobilenetv3_small_050')
    backbone.eval()
    features, = backbone(torch.zeros(1, 3, 64, 64))
    assert features.shape == (1, backbone.embed_dims) == (1, 1024)


def test_another_image_size_is_built_for():
    backbone = TimmBackbone('mixer_s32_224', img_size=96)
    assert backbone.img_size == (96, 96)
    assert embedding_width(dict(backbone=backbone)) == 512


def test_errors():
    with pytest.raises(ValueError, match="no model 'vit_imaginary'"):
        TimmBackbone('vit_imaginary')
    with pytest.raises(TypeError, match='dept'):
        TimmBackbone('vit_tiny_patch16_224', dept=2)
