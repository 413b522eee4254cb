import re

import pytest
import torch

from mmdino.models import DINOHead
from mmdino.weights import CheckpointError, convert
from mmdino.weights.formats.official import head_from, head_to
from mmdino.weights.infer import head_cfg
from tests import golden
from tests.weights import states

# Where the network is written in a format to begin with, and who holds it.
BACKBONES = dict(
    vit=('official', states.vit, ('official', 'mmdino', 'mmpretrain', 'timm',
                                  'hf')),
    xcit=('timm', states.xcit, ('official', 'mmdino', 'mmpretrain', 'timm')),
    resnet=('torchvision', states.resnet, ('official', 'mmdino', 'mmpretrain',
                                           'timm', 'torchvision')))


def same(one, other):
    """Bit by bit, nested or not."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            same(value, other[key]) for key, value in one.items())
    return torch.equal(one, other)


@pytest.mark.parametrize('name', BACKBONES)
def test_round_trips_of_every_pair(name):
    origin, state, formats = BACKBONES[name]
    files = {f: convert(state(), origin, f) for f in formats}
    for source, held in files.items():
        for target in formats:
            there = convert(held, source, target)
            assert same(there, files[target]), (source, target)
    if name == 'vit':  # the authors' names are timm's
        assert same(files['official'], files['timm'])
    if name == 'xcit':
        assert not same(files['official'], files['timm'])
        assert 'pos_embeder.token_projection.weight' in files['official']
        assert 'cls_attn_blocks.0.attn.qkv.bias' in files['official']


@pytest.mark.parametrize('use_bn', [False, True])
def test_full_checkpoint(use_bn):
    official = states.full(states.vit(), 24, use_bn)
    ours = convert(official, 'official', 'mmdino')
    assert torch.equal(ours['centering.center'],
                       official['dino_loss']['center'])
    student, teacher = official['student'], official['teacher']
    wrapped = 'module.' if use_bn else ''
    assert torch.equal(ours['backbone.layers.1.ln2.bias'],
                       student['module.backbone.blocks.1.norm2.bias'])
    assert torch.equal(
        ours['teacher.head.last_layer.parametrizations.weight.original1'],
        teacher[f'{wrapped}head.last_layer.weight_v'])
    back = convert(ours, 'mmdino', 'official')
    assert back.keys() == {'student', 'teacher', 'dino_loss'}
    assert same(back, {key: official[key] for key in back})


@pytest.mark.parametrize('which', ['student', 'teacher'])
def test_which(which):
    official = states.full(states.vit(), 24)
    lone = convert(official, 'official', 'timm', which=which)
    network = official[which]
    for key, value in lone.items():
        prefix = 'module.' if which == 'student' else ''
        assert torch.equal(value, network[f'{prefix}backbone.{key}'])
    assert same(
        convert(official, 'official', 'timm', which='teacher'),
        convert(official, 'official', 'timm'))


def test_linear_weights():
    official = dict(
        epoch=100,
        best_acc=77.,
        optimizer={},
        scheduler={},
        state_dict={
            'module.linear.weight': torch.randn(10, 24),
            'module.linear.bias': torch.randn(10)
        })
    ours = convert(official, 'official', 'mmdino')
    assert ours.keys() == {'heads.0.weight', 'heads.0.bias'}
    theirs = convert(ours, 'mmdino', 'mmpretrain')
    assert theirs.keys() == {'head.fc.weight', 'head.fc.bias'}
    assert same(convert(theirs, 'mmpretrain', 'mmdino'), ours)
    back = convert(ours, 'mmdino', 'official')
    assert same(back['state_dict'], official['state_dict'])


def test_legacy_weight_norm():
    data = golden.load(golden.files('head.npz')[0])
    legacy = {
        key.removeprefix('state.'): torch.from_numpy(value)
        for key, value in data.items() if key.startswith('state.')
    }
    ours = head_from(legacy)
    assert same(head_to(ours, ''), legacy)
    assert 'last_layer.parametrizations.weight.original0' in ours
    cfg = head_cfg(ours)
    cfg.pop('type')
    head = DINOHead(**cfg).double()
    head.load_state_dict(ours)
    out = head(torch.from_numpy(data['input']))
    torch.testing.assert_close(out, torch.from_numpy(data['output']))


def errors():
    vit = states.vit()
    without = {k: v for k, v in vit.items() if k != 'blocks.1.norm2.bias'}
    full = states.full(vit, 24)
    headless = convert(full, 'official', 'mmdino')
    del headless['centering.center']
    shape = dict(vit)
    shape['blocks.0.attn.qkv.bias'] = torch.zeros(71)
    linear = dict(state_dict={'module.linear.weight': torch.zeros(1)}, foo=1)
    return [
        (without, 'timm', 'hf', r"missing 'layers\.1\.ln2\.bias'"),
        (dict(vit, **{'head.weight': torch.zeros(1)}), 'timm', 'hf',
         "no place for 'head.weight'.*--drop"),
        (dict(vit, **{'blocks.0.ls1.gamma': torch.zeros(24)}), 'timm',
         'mmdino', "missing 'layers.0.ffn.gamma2.weight'"),
        (dict(vit, **{'norm_pre.weight': torch.zeros(8)}), 'timm', 'mmdino',
         "no place for 'norm_pre.weight'"),
        (shape, 'timm', 'hf', r'attn.qkv.bias \(71,\), not \(72,\)'),
        (vit, 'official', 'torchvision', 'no place for a vit'),
        (states.resnet(), 'torchvision', 'hf', 'no place for a resnet'),
        (states.resnet(), 'hf', 'mmdino', "no place for 'bn1.bias'"),
        (vit, 'mmdino', 'timm', "no place for 'blocks"),
        (vit, 'mmpretrain', 'timm', "no place for 'blocks"),
        ({}, 'timm', 'hf', 'no teacher.backbone.*are none'),
        ({
            'student': {}
        }, 'official', 'mmdino', "lacks 'dino_loss', 'teacher'"),
        (dict(full, extra=1), 'official', 'mmdino', "no 'extra'"),
        (linear, 'official', 'mmdino', "no 'foo'"),
        (headless, 'mmdino', 'official', 'centering.center.*--which'),
    ]


def test_a_networks_own_weights_are_not_advised_to_be_dropped():
    with pytest.raises(CheckpointError) as caught:
        convert(
            dict(
                states.vit(), **{
                    'norm_pre.weight': torch.zeros(8),
                    'head.weight': torch.zeros(1)
                }), 'timm', 'mmdino')
    assert '--drop' not in str(caught.value)


@pytest.mark.parametrize('case', errors())
def test_errors(case):
    state, source, target, message = case
    with pytest.raises(CheckpointError, match=re.compile(message, re.S)):
        convert(state, source, target)


def test_missing_parts_of_qkv():
    hf = convert(states.vit(), 'timm', 'hf')
    del hf['encoder.layer.1.attention.attention.key.bias']
    with pytest.raises(CheckpointError, match='layers.1.attn.k.bias'):
        convert(hf, 'hf', 'timm')


def test_drop():
    vit = states.vit()
    more = dict(vit, **{'head.weight': torch.zeros(1)})
    assert same(convert(more, 'timm', 'official', drop=['head.']), vit)
