"""Both sides of each benchmark compute the same; each runs with --quick."""
import argparse
import importlib
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmdino.engine.configs import read_config
from mmdino.engine.hooks.compile import compile_backbones
from tests.tools.test_train_and_test import in_process

FOLDER = Path(__file__).parents[2] / 'tools/benchmarks'
CROPS = 2 * [32] + 2 * [16]


@pytest.fixture
def benchmark(monkeypatch):
    """Import a benchmark as it finds its neighbours when run as a script."""
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in [p.stem for p in FOLDER.glob('*.py')]:
        sys.modules.pop(name, None)


def test_multi_crop(benchmark, tmp_path):
    module = benchmark('multi_crop')
    module.draw_photos(tmp_path, 2)
    dataset = module.our_dataset(str(tmp_path))
    plain = module.batch_straightforward(dataset, seed=3)
    ours = module.normalise(module.batch_ours(dataset, seed=3))
    assert [v.shape[2] for v in ours] == 2 * [224] + 8 * [96]
    for a, b in zip(plain, ours, strict=True):
        # in levels of 255: a standard deviation is about 58 of them
        assert 58 * (a - b).abs().mean() < 2


def test_loss(benchmark):
    module = benchmark('loss')
    student, teacher = module.make_logits(images=3, prototypes=32)
    student = student.detach().double().requires_grad_()
    inputs = student, teacher.double(), torch.full((1, 32), .1).double()
    plain, ours = module.straightforward(*inputs), module.ours(*inputs)
    torch.testing.assert_close(plain, ours, rtol=0, atol=1e-12)


def test_ema(benchmark):
    module = benchmark('ema')
    plain, ours = (module.lagging_model(64) for _ in range(2))
    ours.load_state_dict(plain.state_dict())
    before = [p.clone() for p in plain.teacher.parameters()]
    module.straightforward(plain)
    module.ours(ours)
    after = list(plain.teacher.parameters())
    assert not before[0].equal(after[0])
    torch.testing.assert_close(after, list(ours.teacher.parameters()))


def test_knn(benchmark):
    module = benchmark('knn')
    features = module.make_features(queries=50, gallery=2000)
    plain, ours = (
        side(**features) for side in (module.straightforward, module.ours))
    assert set(plain) == set(ours) == {10, 20, 100, 200}
    for k in plain:
        assert plain[k].equal(ours[k])
    if find_spec('faiss'):
        assert all(
            found.equal(ours[k])
            for k, found in module.ours(**features, backend='faiss').items())


CHECKOUT = os.environ.get('DINO_CHECKOUT')
with_authors = pytest.mark.skipif(
    not CHECKOUT,
    reason="DINO_CHECKOUT names no checkout of the authors' code")


@pytest.fixture
def authors(benchmark, monkeypatch):
    """Their code, imported for one test."""
    monkeypatch.setattr(torch.Tensor, 'cuda', torch.Tensor.cuda)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    before = set(sys.modules)
    benchmark('side_by_side').import_authors(CHECKOUT)
    yield benchmark('authors')
    torch.distributed.destroy_process_group()
    for name in set(sys.modules) - before:
        sys.modules.pop(name)


def test_a_folder_that_is_no_checkout_is_refused(benchmark, tmp_path):
    with pytest.raises(SystemExit, match='has no main_dino.py') as ending:
        in_process(
            'benchmarks/loss',
            '--quick',
            '--reference',
            tmp_path,
            as_user=True)
    assert ending.value.code == 2


@with_authors
def test_the_authors_loss_is_ours(benchmark, authors):
    module = benchmark('loss')
    student, teacher = module.make_logits(images=3, prototypes=32)
    student = student.detach().double().requires_grad_()
    teacher = teacher.double()
    theirs = authors.loss(student, teacher, (.1, .04), .9)()
    theirs = [part.clone() for part in theirs]
    ours = module.ours(student, teacher, torch.zeros(1, 32).double())
    torch.testing.assert_close(theirs, [*ours], rtol=0, atol=1e-12)


@with_authors
def test_the_authors_neighbours_are_ours(benchmark, authors):
    module = benchmark('knn')
    features = module.make_features(queries=100, gallery=2000)
    theirs = authors.knn(
        **features, ks=module.KS, temperature=.07, num_classes=1000)()
    ours = module.ours(**features)
    assert theirs == [
        100 * (ours[k] == 0).double().mean().item() for k in module.KS
    ]


@with_authors
def test_the_authors_propagation_is_ours(benchmark, authors):
    module = benchmark('propagation')
    frames = module.make_frames((14, 15))
    theirs = authors.propagation(*frames, 3, 5)()
    ours = module.propagate_labels(*frames, 3, 5)
    torch.testing.assert_close(theirs[0], ours)


@with_authors
def test_the_authors_views_and_step(benchmark, authors, tmp_path):
    module = benchmark('multi_crop')
    module.draw_photos(tmp_path, 2)
    photos = authors.Photos(module.paths_of(module.our_dataset(str(tmp_path))))
    assert [v.shape[2] for v in photos[1]] == 2 * [224] + 8 * [96]
    steps = benchmark('train_step')
    step = authors.Step('tiny', steps.make_crops(2, CROPS), steps.SETTINGS)
    assert step() != step()


def test_train_step(benchmark, float64, monkeypatch):
    """Two steps: losses, then student and teacher, and the centre."""
    module = benchmark('train_step')
    model = module.make_model('tiny')
    crops = module.make_crops(3, CROPS)
    preprocess = type(model.data_preprocessor).forward

    def to_double(self, data, training=False):
        data = preprocess(self, data, training)
        return dict(data, inputs=[view.double() for view in data['inputs']])

    monkeypatch.setattr(type(model.data_preprocessor), 'forward', to_double)
    plain = module.Straightforward(model, crops)
    ours = module.Ours(model, crops)
    losses = [(plain(), ours()) for _ in range(2)]
    assert losses[0] != losses[1]
    np.testing.assert_allclose(*zip(*losses), rtol=1e-9)
    close = dict(rtol=0, atol=1e-6)
    torch.testing.assert_close(plain.center, model.centering.center, **close)
    for a, b in ((plain.student, (model.backbone, model.head)),
                 (plain.teacher, model.teacher.values())):
        b = [p for part in b for p in part.parameters()]
        torch.testing.assert_close(list(a.parameters()), b, **close)


@pytest.fixture
def gpu(benchmark, monkeypatch):
    """gpu.py with the CPU in the place of the GPU, and tiny models."""
    module = benchmark('gpu')
    monkeypatch.setattr(
        module, 'on_gpu',
        lambda config, **changes: module.make_model('tiny', config, **changes))
    monkeypatch.setattr(
        module, 'compiled', lambda model: compile_backbones(
            model, backend='eager', fullgraph=True) or model)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: 3 * 2**20)
    for name in ('synchronize', 'empty_cache', 'reset_peak_memory_stats'):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch.Tensor, 'pin_memory', lambda self: self)
    torch._dynamo.reset()
    return module


def test_gpu_sides(gpu):
    crops = gpu.make_crops(2, CROPS)
    args = argparse.Namespace(rounds=2, clock='wall')
    figures = gpu.measure_sides('dino_vit-s16', crops, 1e9, args)
    step = gpu.Straightforward(gpu.on_gpu('dino_vit-s16'), crops)
    for side in ('straightforward', 'ours'):
        assert figures[f'{side}_mib'] == 3
        # operations a second, of a billion
        assert figures[f'{side}_of_peak'] == pytest.approx(
            figures[side] / 2 * gpu.operations(step) / 1e9)
    ratio = figures['ours'] / figures['straightforward']
    assert figures['ratio'] == pytest.approx(dict(straightforward=ratio))


def test_gpu_compiled(gpu, capsys):
    """A row of its own, which a slow compiler costs alone."""
    crops = gpu.make_crops(2, CROPS)
    args = argparse.Namespace(rounds=2, clock='wall')
    figures = gpu.measure_compiled('dino_vit-s16', crops, 1e9, args)
    step = gpu.Straightforward(gpu.on_gpu('dino_vit-s16'), crops)
    assert set(figures) == {
        'ours_compiled', 'ours_compiled_mib', 'ours_compiled_of_peak',
        'compiled_speedup'
    }
    assert figures['ours_compiled_of_peak'] == pytest.approx(
        figures['ours_compiled'] / 2 * gpu.operations(step) / 1e9)


@pytest.mark.parametrize('slow', [False, True])
def test_gpu_rows_come_as_they_are_measured(gpu, capsys, monkeypatch, slow):
    """All configs without a compiler first, then with it."""

    def measured(config, *_):
        return dict(ours=1., ratio=dict(straightforward=2.))

    def measured_compiled(config, *_):
        if slow:
            raise torch.OutOfMemoryError
        return dict(ours_compiled=1.)

    monkeypatch.setattr(gpu, 'measure_sides', measured)
    monkeypatch.setattr(gpu, 'measure_compiled', measured_compiled)
    monkeypatch.setattr(gpu, 'peak_rate', lambda: 1e12)
    monkeypatch.setattr(gpu, 'SIZES', CROPS)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda: 'none')
    args = argparse.Namespace(
        quick=False, images=1, configs=['a', 'b'], switches=False, out=None)
    gpu.main(args)
    rows = [
        json.loads(line) for line in capsys.readouterr().out.splitlines()
        if line.startswith('{')
    ]
    assert [set(row) for row in rows[:4]] == [{'a'}, {'b'}, {'a'}, {'b'}]
    assert 'ours' in rows[1]['b'] and 'ours' not in rows[2]['a']
    assert rows[4]['models']['b'] == dict(rows[1]['b'], **rows[3]['b'])
    assert rows[4]['ratio'] == 2


def test_gpu_switches(gpu, capsys):
    table = gpu.switches('dino_vit-s16', gpu.make_crops(2, CROPS),
                         argparse.Namespace(rounds=1))
    assert len(table) == 6
    assert all(rate > 0 and mib == 3 for rate, mib in table.values())
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_share_of_products(benchmark):
    module = benchmark('train_step')
    image = torch.rand(8, 3, 64, 64, requires_grad=True)
    tokens = torch.rand(8, 4, 256, 32, requires_grad=True)

    def products():
        maps = F.conv2d(image, image[:, :, :16, :16], stride=16)
        attended = F.scaled_dot_product_attention(tokens, tokens, tokens)
        (maps.sum() + (attended @ tokens.mT).sum()).backward()

    assert module.product_share(products) > .6
    assert module.product_share(lambda: tokens.exp().sum().backward()) == 0


def test_last_layer(benchmark):
    module = benchmark('last_layer')
    whole, chunked = module.make_sides(images=5, prototypes=32, per_chunk=2)
    torch.testing.assert_close(whole(), chunked())


def test_parts_of_dinov2(benchmark):
    module = benchmark('dinov2_parts')
    inputs = module.make_inputs(images=3, prototypes=32)
    plain, ours = (
        side(**inputs) for side in (module.straightforward, module.ours))
    assert set(ours) == {*plain, 'masks'}
    for name, side in plain.items():
        copies = [[x.clone() for x in torch.utils._pytree.tree_leaves(call())]
                  for call in (side, ours[name])]
        torch.testing.assert_close(*copies, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(
    not os.environ.get('DINOV2_CHECKOUT'),
    reason="DINOV2_CHECKOUT names no checkout of the authors' DINOv2")
def test_the_authors_dinov2(benchmark, monkeypatch):
    monkeypatch.setattr(torch.Tensor, 'cuda', torch.Tensor.cuda)
    monkeypatch.setattr(sys, 'path', [*sys.path])
    benchmark('side_by_side').import_authors(os.environ['DINOV2_CHECKOUT'],
                                             'dinov2/train/ssl_meta_arch.py')
    module = benchmark('dinov2_parts')
    inputs = module.make_inputs(images=4, prototypes=32)
    theirs = benchmark('authors').dinov2_parts(
        **inputs, temps=(.1, .04), momentum=.9, grid=module.GRID)
    ours = module.ours(**inputs)
    for name in ('patch_loss', 'sinkhorn', 'koleo'):
        copies = [[x.clone() for x in torch.utils._pytree.tree_leaves(call())]
                  for call in (theirs[name], ours[name])]
        torch.testing.assert_close(*copies, rtol=1e-4, atol=1e-5)
    assert theirs['masks']().shape == ours['masks']().shape
    torch.distributed.destroy_process_group()


def test_checkpointed_blocks_give_the_same_loss(benchmark):
    module = benchmark('train_step')
    crops = module.make_crops(2, CROPS)
    losses = [
        module.Ours(model, crops)()
        for model in (module.make_model('tiny'),
                      module.make_model('tiny', backbone=dict(with_cp=True)))
    ]
    assert losses[0] == losses[1]


def test_memory(benchmark):
    """What the meta device counts is what a CPU's tensors take."""
    module = benchmark('memory')
    found = {}
    for device in ('meta', 'cpu'):
        cfg = read_config('quickstart/dinov2_vit-tiny_cifar10')
        found[device] = module.measure(cfg, 16, device)
    process = found['cpu'].pop('process_mib')
    assert found['meta'] == pytest.approx(found['cpu'], rel=.01)
    student = found['meta']['moments_mib'] / 2
    assert student < found['meta']['weights_mib'] < 2.2 * student
    assert found['meta'][
        'peak_mib'] > found['meta']['weights_mib'] + 2 * student
    assert process > .8 * found['meta']['peak_mib']


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_gpu_is_refused_without_one(benchmark):
    with pytest.raises(SystemExit, match='gpu.py needs an NVIDIA GPU') as end:
        in_process('benchmarks/gpu', '--quick', as_user=True)
    assert end.value.code == 2


@pytest.mark.parametrize(
    'name', ['multi_crop', 'loss', 'last_layer', 'ema', 'knn', 'train_step'])
def test_quick_run_ends_with_a_json_line(benchmark, capfd, name):
    in_process(f'benchmarks/{name}', '--quick', '--rounds', 1)
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert result['benchmark'] == name
    assert result['torch'] == torch.__version__
    ratios = result['ratio']
    if isinstance(ratios, dict):
        assert ratios and len(result['seconds']['ours']) == 1
        ratios = min(ratios.values())
    assert ratios > 0


@pytest.mark.parametrize(
    'name,key', [('startup', 'imports_ms'),
                 pytest.param('scaling', 'needs', marks=pytest.mark.slow),
                 ('loader', 'reading, shards, by shards, cold'),
                 ('shard_index', 'open')])
def test_quick_report_ends_with_a_json_line(benchmark, capfd, name, key):
    in_process(f'benchmarks/{name}', '--quick', '--rounds', 1)
    result = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert result['benchmark'] == name and result[key]
