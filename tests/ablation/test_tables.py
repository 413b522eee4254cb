"""The tables' rows, on the paper's setting and on others."""
import os

import pytest
from mmengine.config import Config

from mmdino.ablation import BASES, find_variants, list_tables, load_variant
from mmdino.ablation.row import digest

LEAVES = [v for table in list_tables() for v in find_variants(table)]


def test_tables():
    assert set(list_tables()) >= {
        'batch', 'center-momentum', 'collapse', 'crop-scale', 'guard', 'head',
        'loss', 'multi-crop', 'patch', 'predictor', 'prototypes', 'teacher',
        'teacher-temp'
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
    assert len(settings) <= 16
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
        digest(load_variant(find_variants(table, [row])[0].path, base))
        for table, row in (('guard', 'centering'), ('teacher', 'momentum'),
                           ('teacher', 'student-copy'))
    ]
    assert guard == teacher != copy


def test_errors():
    with pytest.raises(ValueError, match="no table 'gard'.*'guard'"):
        find_variants('gard')
    patch = find_variants('patch', ['patch-5'])[0].path
    with pytest.raises(ValueError, match='patch-5.py cannot be put upon'):
        load_variant(patch, BASES['shapescenes'])
    with pytest.raises(ValueError, match="no row 'sinkhorn'.*sinkhorn-knopp"):
        find_variants('guard', ['centering', 'sinkhorn'])
