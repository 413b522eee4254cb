"""The tables' rows, on the paper's setting and on others."""
import os

import pytest
from mmengine.config import Config
from torch import nn

from mmdino.experiments.ablations import (BASES, digest, find_variants,
                                          list_tables, load_variant)
from mmdino.registry import MODELS
from mmdino.weights import describe_network

LEAVES = [v for table in list_tables() for v in find_variants(table)]


def test_tables():
    assert set(list_tables()) >= {
        'batch', 'center-momentum', 'collapse', 'crop-scale', 'guard', 'head',
        'loss', 'multi-crop', 'patch', 'predictor', 'prototypes', 'teacher',
        'teacher-temp', 'averaging', 'guard-student-copy'
    }
    assert [v.name for v in find_variants('prototypes')
            ][-2:] == ['k-65536', 'k-262144']
    assert [v.name for v in find_variants('guard', ['none', 'centering'])
            ] == ['none', 'centering']


@pytest.mark.parametrize(
    'leaf', LEAVES, ids=lambda v: f'{v.path.parent.name}-'
    f'{v.name}')
def test_a_row_is_a_switch(leaf):
    """Short, with a title, and no more than a switch on any base."""
    lines = leaf.path.read_text().splitlines()
    settings = [line for line in lines if line and line[0] != '#']
    assert len(settings) <= 15
    assert 3 < len(leaf.title) < 120
    assert '69.3' not in leaf.title
    paper = Config.fromfile('configs/dino_vit-s16.py')
    own = load_variant(leaf.path)
    changed = {k for k in {*paper, *own} if paper.get(k) != own.get(k)}
    assert not changed & {'param_scheduler', 'train_cfg', 'optim_wrapper'}
    for base in () if leaf.name == 'patch-5' else BASES.values():
        cfg, plain = load_variant(leaf.path, base), Config.fromfile(base)
        assert cfg.model.backbone.arch == plain.model.backbone.arch
        assert cfg.train_dataloader.dataset.get(
            'data_root') == plain.train_dataloader.dataset.get('data_root')


@pytest.mark.parametrize('table', list_tables())
def test_no_two_rows_of_a_table_are_alike(table):
    rows = find_variants(table)
    digests = {digest(load_variant(row.path), 1) for row in rows}
    # The paper's own setting may stand under several names.
    standing = 1 + dict(head=4).get(table, 0)
    assert len(digests) >= len(rows) - standing + 1


VALUES = {
    'center-momentum':
    lambda cfg: cfg.model.centering.momentum,
    'crop-scale':
    lambda cfg: 100 * cfg.train_dataloader.dataset.pipeline.views.local.crop.
    scale[1],
    'batch':
    lambda cfg: 8 * cfg.train_dataloader.batch_size,
    'multi-crop':
    lambda cfg: cfg.train_dataloader.dataset.pipeline.views.local.num_views,
    'patch':
    lambda cfg: cfg.model.backbone.patch_size,
    'prototypes':
    lambda cfg: cfg.model.head.out_dim,
    'teacher-temp':
    lambda cfg: cfg.default_hooks.centering.teacher_temp,
}
NAMED = [
    leaf for leaf in LEAVES
    if leaf.path.parent.name in VALUES and 'to' not in leaf.name
]


@pytest.mark.parametrize('leaf', NAMED, ids=lambda leaf: leaf.name)
def test_a_number_in_a_name_is_the_setting(leaf):
    number = float(leaf.name.split('-')[-1])
    got = VALUES[leaf.path.parent.name](load_variant(leaf.path))
    assert got == pytest.approx(number, abs=2e-6)  # a temperature of 0


def test_layers_of_the_heads():
    """Those of the names, the prototypes' included."""
    for row in find_variants('head'):
        kind, *total = row.name.split('_layers-')
        if total:
            head = dict(load_variant(row.path).model.head, in_channels=8)
            head.update(out_dim=16, hidden_channels=8)
            linear = [
                module for module in MODELS.build(head).modules()
                if isinstance(module, nn.Linear)
            ]
            assert len(linear) == int(total[0])
            assert (head['type'] == 'DINOHead') == (kind == 'bottleneck')


@pytest.mark.parametrize('row,side', [('patch-5', 220), ('patch-16', 224)])
def test_the_probe_crops_whole_patches(row, side):
    """Benchmarks take the size of the images from the checkpoint."""
    path = find_variants('patch', [row])[0].path
    network = describe_network(load_variant(path))
    assert network['preprocessing']['size'] == side


def test_the_environment_is_as_before(monkeypatch):
    path = find_variants('guard')[0].path
    monkeypatch.setenv('MMDINO_BASE', 'mine')
    load_variant(path, BASES['shapescenes'])
    assert os.environ['MMDINO_BASE'] == 'mine'
    assert load_variant(path).model.head.out_dim == 65536
    monkeypatch.delenv('MMDINO_BASE')
    load_variant(path, BASES['shapescenes'])
    assert 'MMDINO_BASE' not in os.environ


def test_equal_settings_have_equal_digests():
    base = BASES['shapescenes']
    guard, teacher, copy = [
        digest(load_variant(find_variants(table, [row])[0].path, base), 1)
        for table, row in (('guard', 'centering'), ('teacher', 'momentum'),
                           ('teacher', 'student-copy'))
    ]
    assert guard == teacher != copy
    path = find_variants('guard', ['centering'])[0].path
    assert digest(load_variant(path, base), 2) != guard


def test_errors():
    with pytest.raises(ValueError, match="no table 'gard'.*'guard'"):
        find_variants('gard')
    patch = find_variants('patch', ['patch-5'])[0].path
    with pytest.raises(ValueError, match='patch-5.py cannot be put upon'):
        load_variant(patch, BASES['shapescenes'])
    with pytest.raises(ValueError, match="no row 'sinkhorn'.*sinkhorn-knopp"):
        find_variants('guard', ['centering', 'sinkhorn'])
