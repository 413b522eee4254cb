import json
import os
import pickle
import zipfile

import pytest
import torch
from mmengine.runner import CheckpointLoader

from mmdino.apis import compare
from mmdino.models.frozen import LinearProbe
from mmdino.weights import (CheckpointError, convert, convert_file,
                            load_checkpoint, open_weights, resolve_network,
                            save_checkpoint, use_safe_loading)
from tests.tools.test_train_and_test import in_process
from tests.weights import states
from tests.weights.test_conversion import same


class Malicious:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path, )


@pytest.fixture
def official(tmp_path):
    path = tmp_path / 'official.pth'
    torch.save(states.full(states.vit(), 24), path)
    return str(path)


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_containers(official, tmp_path, ending):
    target = str(tmp_path / f'ours.{ending}')
    convert_file(official, target, None, 'mmdino', num_heads=3)
    held = load_checkpoint(target)
    assert held.keys() == {'meta', 'state_dict'}
    if ending == 'pth':
        assert held['meta']['converted_from'] == 'official.pth'
    backbone = held['meta']['network']['backbone']
    assert backbone['arch']['num_heads'] == 3
    assert backbone['pos_embed_mode'] == 'offset'
    back = str(tmp_path / 'back.pth')
    convert_file(target, back, None, 'official')
    read, expected = load_checkpoint(back), load_checkpoint(official)
    assert same(read, {key: expected[key] for key in read})
    assert sorted(os.listdir(tmp_path)) == sorted(
        ['back.pth', 'official.pth', f'ours.{ending}'])


@pytest.mark.parametrize('ending', ['pth', 'safetensors'])
def test_a_file_has_the_usual_permissions(tmp_path, ending):
    (tmp_path / 'usual').touch()
    path = tmp_path / f'new.{ending}'
    save_checkpoint(dict(weight=torch.ones(1)), str(path))
    assert path.stat().st_mode == (tmp_path / 'usual').stat().st_mode


def test_for_transformers(official, tmp_path):
    transformers = pytest.importorskip('transformers')
    target = str(tmp_path / 'vit' / 'model.safetensors')
    convert_file(official, target, 'official', 'hf', num_heads=3)
    with open(tmp_path / 'vit' / 'config.json') as file:
        cfg = json.load(file)
    assert cfg['layer_norm_eps'] == 1e-6 and cfg['num_attention_heads'] == 3
    processor = transformers.ViTImageProcessor.from_pretrained(tmp_path /
                                                               'vit')
    assert processor.image_mean == pytest.approx([.485, .456, .406])
    assert processor.image_std == pytest.approx([.229, .224, .225])
    vit = transformers.ViTModel.from_pretrained(
        tmp_path / 'vit', add_pooling_layer=False)
    cls = load_checkpoint(official)['teacher']['backbone.cls_token']
    assert torch.equal(vit.embeddings.cls_token, cls)
    # A file of theirs alone, without our metadata, tells the same beside it.
    theirs = load_checkpoint(target)
    save_checkpoint(theirs['state_dict'], target)
    cfg['layer_norm_eps'] = 1e-12
    (tmp_path / 'vit' / 'config.json').write_text(json.dumps(cfg))
    network = resolve_network(open_weights(target))
    assert network['backbone']['arch']['num_heads'] == 3
    assert network['backbone']['norm_cfg']['eps'] == 1e-12
    assert network['backbone']['pos_embed_mode'] == 'size'
    assert network['preprocessing']['mean'] == pytest.approx(
        [123.675, 116.28, 103.53])
    cfg['num_hidden_layers'] = 3
    (tmp_path / 'vit' / 'config.json').write_text(json.dumps(cfg))
    with pytest.raises(CheckpointError, match='config.json.*depth 3, not 2'):
        resolve_network(open_weights(target))


def test_linear_weights_are_joined_with_their_backbone(official, tmp_path):
    weights = {
        'module.linear.weight': torch.randn(10, 48),
        'module.linear.bias': torch.randn(10)
    }
    torch.save(dict(state_dict=weights), tmp_path / 'linear.pth')
    ours, probe = str(tmp_path / 'ours.pth'), str(tmp_path / 'probe.pth')
    convert_file(official, ours, 'official', 'mmdino', num_heads=3)
    convert_file(
        str(tmp_path / 'linear.pth'),
        probe,
        'official',
        'mmdino',
        backbone=ours)
    held = load_checkpoint(probe)
    state, cfg = held['state_dict'], held['meta']['network']['backbone']
    model = LinearProbe(
        backbone=cfg,
        features=dict(type='LastBlocks', n=2),
        num_classes=10,
        learning_rates=[.001])
    model.load_state_dict(state)
    assert torch.equal(model.heads[0].bias, weights['module.linear.bias'])
    back = convert(state, 'mmdino', 'official', drop=['network.'])
    assert same(back, dict(state_dict=weights))
    with pytest.raises(CheckpointError, match='leave out --backbone'):
        convert_file(official, ours, 'official', 'mmdino', backbone=ours)


@pytest.mark.parametrize('format_', ['official', 'mmpretrain'])
def test_a_lone_linear_classifier_is_read_whole(format_, tmp_path):
    ours = {'heads.0.weight': torch.randn(3, 8), 'heads.0.bias': torch.ones(3)}
    path = str(tmp_path / 'a.pth')
    torch.save(convert(ours, 'mmdino', format_), path)
    weights = open_weights(path)
    assert weights.format == format_ and same(weights.state, ours)


def test_a_full_checkpoint_does_not_fit_safetensors(official, tmp_path):
    with pytest.raises(CheckpointError, match='write a .pth'):
        convert_file(
            official,
            str(tmp_path / 'a.safetensors'),
            'official',
            'official',
            num_heads=3)
    assert os.listdir(tmp_path) == ['official.pth']


@pytest.mark.parametrize('form', ['torch', 'legacy', 'pickle'])
def test_a_malicious_file_is_refused(tmp_path, form):
    trap, path = tmp_path / 'trap', str(tmp_path / 'evil.pth')
    payload = dict(state_dict=states.vit(), args=Malicious(trap))
    if form == 'pickle':
        with open(path, 'wb') as file:
            pickle.dump(payload, file)
    else:
        torch.save(
            payload, path, _use_new_zipfile_serialization=form == 'torch')
    target = tmp_path / 'target.pth'
    target.write_bytes(b'as before')
    with pytest.raises(CheckpointError, match='refused.*mkdir|damaged'):
        convert_file(path, str(target), 'timm', 'mmdino')
    assert target.read_bytes() == b'as before'
    use_safe_loading()
    with pytest.raises(CheckpointError):
        CheckpointLoader.load_checkpoint(path)
    assert not trap.exists()


def test_getattr_is_not_what_it_seems(tmp_path):
    """MMEngine's files name it; only its log buffers' methods are given."""

    class Sneaky:

        def __reduce__(self):
            return getattr, (argparse_namespace(), '__init__')

    path = str(tmp_path / 'evil.pth')
    torch.save(dict(a=Sneaky()), path)
    with pytest.raises(CheckpointError, match="attribute '__init__'"):
        load_checkpoint(path)


def argparse_namespace():
    import argparse
    return argparse.Namespace


def damaged(tmp_path, name):
    good = tmp_path / 'good.pth'
    torch.save(states.vit(), good)
    data = good.read_bytes()
    path = tmp_path / name
    if name == 'truncated.pth':
        path.write_bytes(data[:len(data) // 2])
    elif name == 'empty.pth':
        path.write_bytes(b'')
    elif name == 'noise.safetensors':
        path.write_bytes(data[:100])
    elif name == 'bytes.pth':
        path.write_bytes(b'no checkpoint at all')
    elif name == 'archive.pth':
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('a.txt', 'a')
    elif name == 'list.pth':
        torch.save([1], path)
    return path


@pytest.mark.parametrize('name', [
    'truncated.pth', 'empty.pth', 'noise.safetensors', 'bytes.pth',
    'archive.pth', 'list.pth'
])
def test_damaged_files(tmp_path, name):
    target = tmp_path / 'target.pth'
    target.write_bytes(b'as before')
    with pytest.raises(CheckpointError, match=f'{name}.*(damaged|state dict)'):
        convert_file(
            str(damaged(tmp_path, name)), str(target), 'timm', 'mmdino')
    assert target.read_bytes() == b'as before'


def test_wrong_names(tmp_path):
    with pytest.raises(FileNotFoundError, match='no checkpoint'):
        load_checkpoint(str(tmp_path / 'none.pth'))
    with pytest.raises(CheckpointError, match='.pth or .safetensors'):
        save_checkpoint({}, str(tmp_path / 'a.bin'))


def test_tool(official, tmp_path, capsys, monkeypatch):
    target = tmp_path / 'timm.safetensors'
    in_process('convert_checkpoint', official, target, '--from', 'official',
               '--to', 'timm', '--which', 'student', '--check', '--heads', 3)
    out = capsys.readouterr().out
    assert 'official      32 x 32' in out and 'timm          24 x 40' in out
    assert 'Check passed: features differ by' in out.splitlines()[-1]
    lone = convert(load_checkpoint(official), 'official', 'timm', 'student')
    held = load_checkpoint(str(target))
    assert same(held['state_dict'], lone)
    assert held['meta']['names'] == 'timm'
    monkeypatch.setattr(compare, 'BOUND', -1.)
    with pytest.raises(SystemExit, match='Check failed: features differ by'):
        in_process('convert_checkpoint', official, target, '--to', 'timm',
                   '--check', '--heads', 3)
    in_process('convert_checkpoint', official, target, '--to', 'timm',
               '--which', 'student', '--heads', 3)
    before = target.read_bytes()
    with pytest.raises(SystemExit, match='error: .*no place for'):
        in_process(
            'convert_checkpoint',
            official,
            target,
            '--from',
            'mmpretrain',
            '--to',
            'timm',
            as_user=True)
    assert target.read_bytes() == before
