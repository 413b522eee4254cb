"""The tables' rows, on the paper's setting and on others."""
import json
from pathlib import Path

import pytest
from torch import nn

from mmdino.engine.configs import read_config
from mmdino.experiments.ablations import (BASES, PAPER, TABLES, Ablation,
                                          find_rows, merge_row)
from mmdino.experiments.settings import flatten
from mmdino.registry import MODELS
from mmdino.weights import describe_network

RECORDED = json.loads(
    Path(__file__).parents[1].joinpath('data/ablation_rows.json').read_text())
ROWS = [row for table in TABLES for row in find_rows(table)]
THE_PAPERS = {
    'center-momentum/momentum-0.9', 'collapse/both', 'dinov2/dino',
    'guard/centering', 'head/bottleneck_layers-4', 'head/no-bn',
    'head/norm-fixed', 'loss/cross-entropy', 'multi-crop/local-8',
    'patch/patch-16', 'prototypes/k-65536', 'teacher/momentum',
    'teacher-temp/temp-0.04'
}


@pytest.fixture(scope='module')
def bases():
    paths = dict(BASES, paper=PAPER)
    return {name: read_config(str(path)) for name, path in paths.items()}


def content(cfg):
    """The leaves of what a run reads, no variables of the files."""
    plain = json.loads(json.dumps(cfg.to_dict()))
    kept = ('_dataloader', '_cfg', '_evaluator', '_hooks', 'model', 'wrapper',
            'scheduler', 'randomness')
    return flatten({
        key: value
        for key, value in plain.items()
        if key.endswith(kept) and not key.startswith('_')
    })


def test_every_row_is_there():
    assert TABLES == sorted(RECORDED)
    for table in TABLES:
        assert [row.name for row in find_rows(table)
                if len(row.title) < 100] == list(RECORDED[table])


@pytest.mark.parametrize('name', ['paper', 'cifar10', 'shapescenes'])
@pytest.mark.parametrize('table', TABLES)
def test_a_row_changes_what_it_was_recorded_to_change(table, name, bases):
    """As the config files did that were its leaves."""
    base = bases[name]
    before = content(base)
    for row in find_rows(table):
        changes = RECORDED[table][row.name]
        changes = changes.get('all', changes.get(name))
        if changes == 'cannot':
            with pytest.raises(ValueError, match='changes a setting that'):
                merge_row(row, base)
            continue
        after = content(merge_row(row, base))
        keys = {*before, *after}
        assert {
            key: after.get(key, '<removed>')
            for key in keys if before.get(key, ...) != after.get(key, ...)
        } == changes, row.name
    assert content(base) == before  # merging leaves the base alone


def test_the_papers_setting_is_one_run():
    ablation = Ablation()
    same = {f'{r.table}/{r.name}' for r in ROWS if ablation.equals_base(r)}
    assert same == THE_PAPERS
    for row in ROWS:
        if f'{row.table}/{row.name}' in same:
            assert "the paper's" in row.title


def test_no_two_rows_of_a_table_are_alike():
    ablation = Ablation()
    for table in TABLES:
        configs = [
            json.dumps(content(ablation.config(row)))
            for row in find_rows(table) if not ablation.equals_base(row)
        ]
        assert len({*configs}) == len(configs)


def test_layers_of_the_heads(bases):
    """Those of the names, the prototypes' included."""
    for row in find_rows('head'):
        kind, *total = row.name.split('_layers-')
        if total:
            head = dict(merge_row(row, bases['paper']).model.head)
            head.update(in_channels=8, out_dim=16, hidden_channels=8)
            linear = [
                module for module in MODELS.build(head).modules()
                if isinstance(module, nn.Linear)
            ]
            assert len(linear) == int(total[0])
            assert (head['type'] == 'DINOHead') == (kind == 'bottleneck')


def test_parts_of_dinov2(bases):
    """Each row has what those above it have, and one thing more."""
    parts = {}
    for row in find_rows('dinov2'):
        model = MODELS.build(merge_row(row, bases['cifar10']).model)
        masks, koleo, head = (
            getattr(model, key, None)
            for key in ('masking', 'koleo', 'patch_head'))
        parts[row.name] = (masks is not None, koleo is not None, {
            type(c).__name__
            for c in getattr(model, 'centerings', [model.centering])
        }, model.backbone.num_registers, head is not None,
                           any(
                               isinstance(m, nn.BatchNorm1d)
                               for m in model.head.modules()))
        assert row.dense == 'dense-shapescenes'
    mean, sinkhorn = {'MeanCentering'}, {'SinkhornKnopp'}
    assert parts == {
        'dino': (False, False, mean, 0, False, True),
        'ibot': (True, False, mean, 0, True, True),
        'koleo': (True, True, mean, 0, True, True),
        'sinkhorn-knopp': (True, True, sinkhorn, 0, True, True),
        'registers': (True, True, sinkhorn, 4, True, True),
        'shared-head': (True, True, mean, 0, False, False),
    }


def test_the_test_of_patches():
    option = {'dense.test_dataloader.dataset.num_images': 10}
    row, = find_rows('dinov2', ['koleo'])
    ablation = Ablation('shapescenes', options=option, rows=[row])
    assert ablation.dense(row).test_dataloader.dataset.num_images == 10
    train, test, dense = ablation.jobs(row, 0)
    assert dense.folder.name == 'dense'
    assert ablation.jobs(row, 1)[2].settings != dense.settings
    plain, = find_rows('guard', ['centering'])
    assert Ablation(rows=[plain]).dense(plain) is None
    with pytest.raises(ValueError, match='guard has no benchmark of patches'):
        Ablation(options=option, rows=[plain])
    with pytest.raises(ValueError, match="dense: .*'tset_cfg'"):
        Ablation(options={'dense.tset_cfg.k': 3}, rows=[row])


@pytest.mark.parametrize('name,side', [('patch-5', 220), ('patch-16', 224)])
def test_the_probe_crops_whole_patches(name, side, bases):
    """Benchmarks take the size of the images from the checkpoint."""
    row, = find_rows('patch', [name])
    network = describe_network(merge_row(row, bases['paper']))
    assert network['preprocessing']['size'] == side


def test_a_stale_shell_changes_nothing(monkeypatch, bases):
    monkeypatch.setenv('MMDINO_BASE', 'mine')
    row, = find_rows('guard', ['centering'])
    assert merge_row(row, bases['paper']).model.head.out_dim == 65536
    folders = {
        Ablation().config(row).work_dir
        for row in ROWS if row.name == 'none'
    }
    assert len(folders) == 4


def test_errors():
    with pytest.raises(ValueError, match="'gard'.*Did you mean 'guard'"):
        find_rows('gard')
    with pytest.raises(ValueError, match="'sinkhorn'.*sinkhorn-knopp"):
        find_rows('guard', ['centering', 'sinkhorn'])
    for option, message in {
            'centring.train_cfg.max_epochs': "Did you mean 'centering'",
            'centering.train_cgf.max_epochs': "centering: .*'train_cfg'",
            'train_cgf.max_epochs': "Did you mean 'train_cfg'",
            'linear.train_cgf.max_epochs': "linear: .*'train_cfg'",
    }.items():
        with pytest.raises(ValueError, match=message):
            Ablation(options={option: 3}, rows=find_rows('guard'))
    with pytest.raises(ValueError, match='scored by logistic regression'):
        Ablation('cifar10', options={'linear.train_cfg.max_epochs': 3})
