"""Features of patches, in memory and on disk."""
import numpy as np
import pytest
import torch
from PIL import Image

from mmdino.apis import FeatureExtractor, saved_features
from mmdino.models import FrozenTeacher
from mmdino.models.backbones.vision_transformer import VisionTransformer
from tests.tiny import model_cfg

SIZES = dict(a=(40, 64), b=(64, 40), c=(40, 64), d=(33, 95))


@pytest.fixture(scope='module')
def teacher():
    backbone = dict(model_cfg()['backbone'], num_registers=2)
    model = FrozenTeacher(
        backbone=backbone, data_preprocessor=model_cfg()['data_preprocessor'])
    model.init_weights()
    return model


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / 'images'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f'{name}.png')
    return folder


def test_patches_of_images_of_any_size(teacher, images):
    patches = FeatureExtractor(teacher, what='patches', size=40)(images)
    assert [p.shape for p in patches] == [(5, 8, 24), (8, 5, 24), (5, 8, 24),
                                          (5, 14, 24)]
    tokens = FeatureExtractor(teacher, what='tokens', size=40)(images)
    for token, patch in zip(tokens, patches):
        assert token.shape == (1 + 2 + patch[..., 0].numel(), 24)
        assert torch.equal(token[3:].view(patch.shape), patch)
    alone = FeatureExtractor(
        teacher, what='patches', size=40)(images / 'b.png')[0]
    torch.testing.assert_close(alone, patches[1])


def test_the_patches_are_the_networks(teacher, images):
    found, = FeatureExtractor(
        teacher, what='patches', size=40)([images / 'a.png'])
    pixels = torch.from_numpy(np.asarray(Image.open(
        images / 'a.png'))).permute(2, 0, 1)[None]
    data = teacher.data_preprocessor(
        dict(inputs=pixels.flip(1), data_samples=[]))
    vit: VisionTransformer = teacher.backbone
    with torch.no_grad():
        expected = vit.last_blocks(data['inputs'])[0][0, 3:]
    torch.testing.assert_close(found.flatten(0, 1), expected)


def test_keys(teacher):
    """By the attention that they make."""
    images = torch.randn(1, 3, 32, 24)
    keys = teacher.patches(images, facet='key')
    assert keys.shape == (1, 4, 3, 24)
    vit = teacher.backbone
    with torch.no_grad():
        x, _ = vit._before_last_block(images)
        block = vit.layers[-1]
        q, k, _ = block.attn.qkv(block.ln1(x))[0].chunk(3, dim=-1)
        scores = (q[0].view(3, 8) * k.view(-1, 3, 8)).sum(-1) * 8**-.5
        expected = scores.softmax(0)[3:].T.view(3, 4, 3)
    torch.testing.assert_close(vit.class_attention(images)[0], expected)
    torch.testing.assert_close(keys.view(-1, 24), k[3:])


def test_saved_as_they_come(teacher, images, tmp_path, monkeypatch):
    monkeypatch.setattr(saved_features, 'BYTES_PER_FILE', 5000)
    (images / 'bb.png').write_bytes(b'no image')
    extract = FeatureExtractor(teacher, what='patches', size=40, batch_size=2)
    saved = extract.save(images, tmp_path / 'out')
    assert len([*(tmp_path / 'out').glob('*.safetensors')]) == 3
    assert saved.indices == [0, 1, 3, 4]
    assert [name[-5:]
            for name in saved.names] == ['a.png', 'b.png', 'c.png', 'd.png']
    expected = extract(images)
    for i, (feature, other) in enumerate(zip(saved, expected)):
        assert torch.equal(feature, other.half())
        assert saved.shapes[i] == other.shape
    assert torch.equal(saved[-1], expected[-1].half())
    with pytest.raises(FileExistsError, match='is not empty'):
        extract.save(images, tmp_path / 'out')


def test_an_unfinished_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match='was interrupted'):
        saved_features.SavedFeatures(tmp_path)


def test_features_are_saved_too(teacher, images, tmp_path):
    saved = FeatureExtractor(teacher).save(images, tmp_path / 'out',
                                           torch.float32)
    assert torch.equal(
        torch.stack([*saved]),
        FeatureExtractor(teacher)(images))


def test_what_has_no_patches(teacher):
    with pytest.raises(ValueError, match="got 'maps'"):
        FeatureExtractor(teacher, what='maps')
    resnet = FrozenTeacher(
        backbone=dict(type='mmpretrain.ResNet', depth=18),
        neck=dict(type='mmpretrain.GlobalAveragePooling'))
    with pytest.raises(
            ValueError, match='ResNet gives no token for each patch'):
        FeatureExtractor(resnet, what='patches')
    with pytest.raises(ValueError, match="'token' or 'key', got 'value'"):
        teacher.patches(torch.zeros(1, 3, 8, 8), 'value')


@pytest.mark.parametrize('what', ['features', 'patches', 'tokens'])
def test_a_network_that_diverged(what, images):
    model = FrozenTeacher(**{
        part: model_cfg()[part]
        for part in ('backbone', 'data_preprocessor')
    })
    for weight in model.parameters():
        weight.fill_(float('nan'))
    with pytest.raises(ValueError, match='not finite: .* diverged'):
        FeatureExtractor(model, what=what)(images)
