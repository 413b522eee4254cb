import pytest
import torch
import torch.nn.functional as F

from mmdino.functional.retrieval import crop_to_multiple, gem
from mmdino.registry import MODELS
from tests.tiny import model_cfg


def build(kind, network=None, **settings):
    """An untrained frozen network with these features."""
    parts = network or dict(backbone=model_cfg()['backbone'])
    model = MODELS.build(
        dict(
            type='mmdino.FrozenTeacher',
            features=dict(type=kind, **settings),
            **parts))
    model.init_weights()
    return model


RESNET = dict(
    backbone=dict(type='mmpretrain.ResNet', depth=18),
    neck=dict(type='mmpretrain.GlobalAveragePooling'))


def test_multi_scale_by_hand():
    scales = (1., 1 / 2**.5, 1 / 2)
    model = build('MultiScaleFeatures', scales=scales)
    images = torch.randn(2, 3, 37, 50)
    total = 0.
    for scale, (height, width) in zip(scales, [(32, 48), (24, 32), (16, 24)]):
        scaled = images
        if scale < 1:
            scaled = F.interpolate(
                images,
                scale_factor=scale,
                mode='bilinear',
                align_corners=False)
        scaled = scaled[:, :, :height, :width]
        total = total + model.backbone(scaled)[-1] / 3
    features = model.features(images)
    torch.testing.assert_close(features, F.normalize(total, dim=1))
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2))


def test_one_scale_is_the_pooled_output():
    model = build('MultiScaleFeatures')
    images = torch.randn(2, 3, 32, 48)
    torch.testing.assert_close(
        model.features(images), F.normalize(model.backbone(images)[-1]))


def test_a_strided_convolution_leaves_the_same_pixels_out():
    """The authors feed images of any size to theirs, without padding."""
    model = build('MultiScaleFeatures')
    images = torch.randn(1, 3, 37, 50)
    convolution = model.backbone.patch_embed.projection
    cropped = crop_to_multiple(images, 8)
    assert cropped.shape[-2:] == (32, 48)
    assert convolution(images).equal(convolution(cropped))


def test_multi_scale_of_a_resnet_sees_the_whole_image():
    model = build('MultiScaleFeatures', RESNET)
    images = torch.randn(1, 3, 37, 50)
    maps = model.backbone(images)[-1]
    torch.testing.assert_close(
        model.features(images), F.normalize(maps.mean(dim=(2, 3))))


def test_multi_scale_errors():
    for scales in ((), (1., 0.)):
        with pytest.raises(ValueError, match='scales must be positive'):
            build('MultiScaleFeatures', scales=scales)
    model = build('MultiScaleFeatures', scales=(1., .5))
    with pytest.raises(ValueError, match='of 7 x 24 px .*no patch of 8 px'):
        model.features(torch.zeros(1, 3, 14, 48))


def test_gem_by_hand():
    tokens = torch.tensor([[[1., -5.], [2., 0.], [3., 1e-7]]])
    wanted = [((1 + 16 + 81) / 3)**.25, 1e-6]
    torch.testing.assert_close(gem(tokens), torch.tensor([wanted]))
    torch.testing.assert_close(gem(tokens.relu(), 1.)[0, 0], torch.tensor(2.))
    assert gem(tokens.half()).dtype == torch.float32


def test_copy_detection_features():
    model = build('ClassAndGeMFeatures', power=3.)
    images = torch.randn(2, 3, 32, 48)
    tokens = model.backbone.last_blocks(images)[0]
    features = model.features(images)
    assert features.shape == (2, 48)
    torch.testing.assert_close(features[:, :24], model.backbone(images)[-1])
    torch.testing.assert_close(
        features[:, 24:],
        tokens[:, 1:].clamp(min=1e-6).pow(3).mean(dim=1).pow(1 / 3))


def test_copy_detection_needs_patch_tokens():
    model = build('ClassAndGeMFeatures', RESNET)
    with pytest.raises(ValueError, match='ResNet .* no method last_blocks'):
        model.features(torch.randn(1, 3, 32, 32))
