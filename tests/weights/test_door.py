"""Files of all formats, old ones of ours and wrong ones are opened."""
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from mmengine.config import Config
from safetensors.torch import save_file

from mmdino.engine.testing import given_network
from mmdino.models import FrozenTeacher
from mmdino.models.embedding import embed
from mmdino.registry import build_module
from mmdino.weights import (CheckpointError, convert, convert_file,
                            load_checkpoint, open_weights, resolve_network)
from mmdino.weights.config import describe_network, read_plain_config
from mmdino.weights.formats import recognise
from mmdino.weights.keys import strip_prefix
from tests.weights import states
from tests.weights.test_conversion import BACKBONES, same

OLD = Path(__file__).parents[1] / 'data/checkpoints'


@pytest.mark.parametrize('name', ['vit', 'stem', 'resnet'])
@torch.no_grad()
def test_checkpoints_written_before(name):
    """The features are those that were computed then."""
    path = str(OLD / f'{name}.pth')
    recorded = np.load(OLD / 'features.npz')
    images = torch.from_numpy(recorded['images'])
    teacher = FrozenTeacher(path)
    batch, = teacher.data_preprocessor(
        dict(inputs=[images], data_samples=None))['inputs']
    features = teacher.features(batch)
    found = {name: features}
    if name != 'resnet':
        found[f'{name}_attention'] = teacher.class_attention(batch)
    for key, value in found.items():
        expected = torch.from_numpy(recorded[key])
        assert (value - expected).abs().max() <= 1e-5
    held = load_checkpoint(path)
    model = read_plain_config(held['meta']['cfg']).model
    parts = {
        key: build_module(model[key])
        for key in ('backbone', 'neck') if model.get(key)
    }
    for part in parts.values():
        part.eval()
    parts['backbone'].load_state_dict(
        strip_prefix(held['state_dict'], 'teacher.backbone.'))
    assert torch.equal(embed(parts, batch), features)


@pytest.mark.parametrize('name', BACKBONES)
def test_formats_are_recognised(name, tmp_path):
    origin, state, formats = BACKBONES[name]
    # The same names: timm's ViT and ResNet without a classifier.
    told = dict(
        vit=dict(timm='official'),
        xcit={},
        resnet=dict(official='torchvision', timm='torchvision'))[name]
    ours = convert(state(), origin, 'mmdino')
    for format_ in formats:
        held = convert(state(), origin, format_)
        assert recognise(held, 'a.pth') == told.get(format_, format_)
        path = str(tmp_path / 'a.pth')
        # As some save it: below state_dict, of a model that DDP wrapped.
        torch.save(
            dict(state_dict={
                f'module.{k}': v
                for k, v in held.items()
            }), path)
        weights = open_weights(path)
        assert weights.format == told.get(format_, format_)
        assert same(weights.part('backbone'), strip_prefix(ours, 'backbone.'))


def test_the_authors_training_is_recognised():
    assert recognise(states.full(states.vit(), 24), 'a.pth') == 'official'


def test_a_lone_backbone_of_ours(tmp_path):
    ours = convert(states.vit(), 'official', 'mmdino')
    lone = strip_prefix(ours, 'backbone.')
    torch.save(lone, tmp_path / 'a.pth')
    teacher = FrozenTeacher(str(tmp_path / 'a.pth'), num_heads=3)
    assert same(teacher.backbone.state_dict(), lone)


def test_another_number_of_heads_than_the_files(tmp_path):
    source, path = tmp_path / 'a.pth', str(tmp_path / 'b.safetensors')
    torch.save(states.vit(), source)
    convert_file(str(source), path, None, 'mmdino', num_heads=3)
    for given in (None, 3):
        assert FrozenTeacher(path, num_heads=given)
    with pytest.raises(CheckpointError, match='has 3 attention heads, not 6'):
        FrozenTeacher(path, num_heads=6)


def classified(**changes):
    """A ViT with timm's classifier, as timm's own training saves it."""
    return dict(
        states.vit(), **{
            'head.weight': torch.zeros(5, 24),
            'head.bias': torch.zeros(5)
        }, **changes)


def test_a_classifier_is_left_out(tmp_path):
    path = str(tmp_path / 'a.pth')
    torch.save(dict(state_dict=classified(), epoch=3), path)
    weights = open_weights(path)
    assert weights.format == 'timm'
    network = resolve_network(weights, num_heads=3)
    assert network['backbone']['pos_embed_mode'] == 'antialias'
    assert len(weights.part('backbone')) == len(states.vit())


@pytest.mark.parametrize('held, message', [
    ({}, 'is empty'),
    (dict(state_dict={}), 'is empty'),
    (dict(state_dict=[1]), 'state_dict .* is a list'),
    (dict(model=dict(a=torch.zeros(1))),
     'no tensors at the top.*save the state'),
    (dict(state_dict=dict(m=dict(a=torch.zeros(1)))), 'no tensors at the top'),
    (dict(epoch=1, best=2.), 'no tensors at the top'),
    (dict(foo=torch.zeros(1)), "those of no format.*'foo'"),
    (dict(meta=dict(network=dict(backbone=1), names='x'),
          state_dict={}), "format 'x', which is none of"),
])
def test_wrong_files(held, message, tmp_path):
    path = str(tmp_path / 'a.pth')
    torch.save(held, path)
    with pytest.raises(CheckpointError, match=message):
        open_weights(path)


@pytest.mark.parametrize('text', ['{', '[]', '{"backbone": {}}', '3', 'null'])
def test_damaged_metadata(text, tmp_path):
    path = str(tmp_path / 'a.safetensors')
    save_file(states.vit(), path, metadata=dict(mmdino=text))
    with pytest.raises(CheckpointError, match='metadata .* damaged'):
        open_weights(path)


def test_a_timm_model_comes_in(tmp_path):
    """By timm's config.json beside the file, or by a config."""
    model = timm.create_model('mobilenetv3_small_050', num_classes=0)
    path, target = str(tmp_path / 'model.safetensors'), tmp_path / 'b.pth'
    save_file(model.state_dict(), path)
    with pytest.raises(CheckpointError, match='those of no format'):
        convert_file(path, str(target), None, 'mmdino')
    with pytest.raises(CheckpointError, match='No tensor tells.*--config'):
        convert_file(path, str(target), 'timm', 'mmdino')
    (tmp_path / 'c.py').write_text(
        "model = dict(backbone=dict(type='TimmBackbone', "
        "model_name='mobilenetv3_small_050'))")
    given = given_network(str(tmp_path / 'c.py'))
    convert_file(path, str(target), 'timm', 'mmdino', given=given)
    (tmp_path / 'config.json').write_text(
        '{"architecture": "mobilenetv3_small_050", "pretrained_cfg": '
        '{"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], '
        '"input_size": [3, 160, 160]}}')
    teachers = [FrozenTeacher(p) for p in (str(target), path)]
    model.eval()
    images = torch.randn(2, 3, 64, 64)
    for teacher in teachers:
        with torch.no_grad():
            assert torch.equal(teacher.features(images), model(images))
    assert teachers[1].preprocessing['mean'] == [127.5] * 3
    assert teachers[1].preprocessing['size'] == 160


def test_timm_tells_heads(tmp_path):
    model = timm.create_model(
        'vit_tiny_patch16_224', num_classes=0, depth=2, num_heads=6)
    path = str(tmp_path / 'model.safetensors')
    save_file(model.state_dict(), path)
    with pytest.raises(CheckpointError, match='--heads'):
        FrozenTeacher(path)
    (tmp_path / 'config.json').write_text(
        '{"architecture": "vit_tiny_patch16_224", '
        '"model_args": {"depth": 2, "num_heads": 6}}')
    teacher = FrozenTeacher(path)
    assert teacher.backbone.layers[0].attn.num_heads == 6
    model.eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        difference = teacher.features(images) - model(images)
    assert difference.abs().max() < 1e-5


def test_a_config_names_a_lone_model_of_timm(tmp_path):
    model = timm.create_model('mobilenetv3_small_050', num_classes=0).eval()
    path = str(tmp_path / 'model.pth')
    torch.save(model.state_dict(), path)
    teacher = FrozenTeacher(
        path,
        backbone=dict(type='TimmBackbone', model_name='mobilenetv3_small_050'))
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(teacher.features(images), model(images))


def test_a_neck_of_several_parts(tmp_path):
    """Its config is kept as the list that it is."""
    cfg = Config(
        dict(
            model=dict(
                type='DINO',
                backbone=dict(type='mmpretrain.ResNet', depth=18),
                neck=[
                    dict(type='mmpretrain.GlobalAveragePooling'),
                    dict(
                        type='mmpretrain.LinearNeck',
                        in_channels=512,
                        out_channels=8)
                ])))
    network = describe_network(cfg)
    assert network['neck'] == cfg.model.neck
    teacher = FrozenTeacher(backbone=network['backbone'], neck=network['neck'])
    assert teacher.features(torch.randn(2, 3, 32, 32)).shape == (2, 8)
