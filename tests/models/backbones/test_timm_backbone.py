import pytest
import torch

from mmdino.models import TimmBackbone


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


def test_errors():
    with pytest.raises(ValueError, match="no model 'vit_imaginary'"):
        TimmBackbone('vit_imaginary')
    with pytest.raises(TypeError, match='dept'):
        TimmBackbone('vit_tiny_patch16_224', dept=2)
