"""Do other libraries' networks compute what ours do, of the same weights?"""
import importlib

import pytest
import timm
import torch

from mmdino.apis.compare import (BOUND, check_conversion, differences,
                                 image_sizes, our_network, relative)
from mmdino.weights import CheckpointError, convert_file, load_checkpoint
from tests.weights import states


def small_224():
    """A ViT of 224 px, so small that it takes a moment."""
    vit = timm.models.vision_transformer.VisionTransformer(
        embed_dim=48, depth=3, num_heads=3, num_classes=0)
    return vit.state_dict()


@pytest.mark.parametrize('format_',
                         ['official', 'mmdino', 'mmpretrain', 'timm', 'hf'])
def test_vit(format_, tmp_path):
    if format_ == 'hf':
        pytest.importorskip('transformers')
    state = {
        key: value + torch.randn_like(value) * .1
        for key, value in small_224().items()
    }
    source = str(tmp_path / 'timm.pth')
    torch.save(state, source)
    done = convert_file(
        source,
        str(tmp_path / 'model.safetensors'),
        'timm',
        format_,
        num_heads=3)
    found = list(check_conversion(done))
    assert [d.size for d in found[-4:]] == [(224, 224), (112, 112), (208, 240),
                                            (256, 256)]
    assert {d.format for d in found} == {'timm', format_}
    assert max(d.largest for d in found) < BOUND


def test_modes_of_position_embeddings_differ(tmp_path, monkeypatch):
    """So that agreement above is agreement of the modes, and it is said."""
    said = []
    monkeypatch.setattr(
        importlib.import_module('mmdino.weights.convert'), 'print_log',
        lambda text, **kwargs: said.append(text))
    source = str(tmp_path / 'vit.pth')
    torch.save(states.vit(), source)
    done = convert_file(
        source, str(tmp_path / 'a.pth'), 'official', 'timm', num_heads=3)
    assert 'another way (antialias) than this network (offset)' in said[0]
    ours = our_network(done)
    stored, smaller, *_ = image_sizes(done.network, 'vit')
    for size, equal in ((stored, True), (smaller, False)):
        images = torch.randn(1, 3, *size)
        features = []
        for mode in ('offset', 'size', 'antialias'):
            ours.backbone.pos_embed_mode = mode
            features.append(ours.features(images))
        first, *others = features
        assert first.std() > .1
        for other in others:
            assert ((first - other).abs().max() < 1e-5) == equal


@pytest.mark.parametrize('name, format_', [
    ('xcit', 'official'),
    ('xcit', 'mmpretrain'),
    ('xcit', 'timm'),
    ('resnet', 'official'),
    ('resnet', 'mmpretrain'),
    ('resnet', 'timm'),
])
def test_convolutional(name, format_, tmp_path):
    origin = dict(xcit='timm', resnet='torchvision')[name]
    source = str(tmp_path / 'source.pth')
    torch.save(getattr(states, name)(), source)
    done = convert_file(source, str(tmp_path / 'a.pth'), origin, format_)
    ours = our_network(done)
    for name, path in ((origin, source), (format_, done.path)):
        first = next(differences(ours, done, name, path))
        assert first.size == (224, 224) and first.largest < BOUND


def test_a_wrong_number_of_heads_is_seen(tmp_path):
    """The two sides do not come from one guess."""
    source, target = str(tmp_path / 'a.pth'), tmp_path / 'model.safetensors'
    torch.save(states.vit(), source)
    done = convert_file(source, str(target), 'official', 'hf', num_heads=3)
    path = tmp_path / 'config.json'
    path.write_text(path.read_text().replace('"num_attention_heads": 3',
                                             '"num_attention_heads": 6'))
    assert max(d.largest for d in check_conversion(done)) > 100 * BOUND


def test_wrong_weights_are_seen(tmp_path):
    source, target = str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth')
    torch.save(states.vit(), source)
    done = convert_file(source, target, 'official', 'timm', num_heads=3)
    state = load_checkpoint(target)
    state['blocks.0.norm1.weight'] += .1
    torch.save(state, target)
    worst = {d.format: d.largest for d in check_conversion(done)}
    assert worst['official'] < BOUND < worst['timm']


def test_what_is_no_number_differs():
    ones, nan = torch.ones(2, 3), torch.full((2, 3), float('nan'))
    assert relative(ones, nan) == relative(nan, ones) == float('inf')


def test_a_linear_classifier_has_no_network(tmp_path):
    weights = {
        'module.linear.weight': torch.randn(10, 48),
        'module.linear.bias': torch.randn(10)
    }
    source = str(tmp_path / 'linear.pth')
    torch.save(dict(state_dict=weights), source)
    done = convert_file(source, str(tmp_path / 'b.pth'), None, 'mmpretrain')
    with pytest.raises(ValueError, match='no network to check'):
        next(check_conversion(done))


def test_heads_are_asked_for(tmp_path):
    source = str(tmp_path / 'a.pth')
    torch.save(states.vit(), source)
    with pytest.raises(CheckpointError, match='--heads'):
        convert_file(source, str(tmp_path / 'b.pth'), None, 'timm')
