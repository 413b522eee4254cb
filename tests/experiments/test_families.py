"""The suite on random weights of each family, in the names of its library."""
import json
import math
import shutil

import pytest
import timm
import torch
from mmengine.registry import init_default_scope
from safetensors.torch import save_file

from mmdino.engine.configs import read_config
from mmdino.engine.testing import fill_sizes, use_checkpoint
from mmdino.experiments import suite as suites
from mmdino.experiments.suite import ROWS, Suite
from mmdino.registry import build_module
from mmdino.weights import convert_file
from mmdino.weights.keys import add_prefix
from tests.datasets.benchmark_trees import make_copydays, make_revisited
from tests.datasets.benchmarks.test_voc_boxes import write_voc as write_boxes
from tests.datasets.benchmarks.test_voc_objects import write_voc
from tests.davis_tree import moving_square, write_tree
from tests.tools.test_train_and_test import in_process
from tests.transfer.benchmarks import write_imagenet
from tests.transfer.seg_trees import write_ade20k

DINO = dict(arch='deit-tiny', patch_size=16, img_size=32)
DINOV2 = dict(
    arch='deit-tiny', patch_size=14, img_size=28, layer_scale_init_value=1e-5)
REGISTERS = dict(DINOV2, num_registers=4, pos_embed_mode='antialias')
# Ours, and whose names the file has.
FAMILIES = {
    'DINO': (DINO, 'official'),
    'iBOT': (dict(DINO, with_mask_token=True), 'ibot'),
    'DINOv2': (dict(DINOV2, with_mask_token=True), 'dinov2'),
    'DINOv2, registers': (dict(REGISTERS, with_mask_token=True), 'dinov2'),
    'DINOv2 of timm': (DINOV2, 'timm'),
    'DINOv2 of transformers': (dict(DINOV2, with_mask_token=True), 'hf'),
    'DINOv2 of transformers, registers':
    (dict(REGISTERS, with_mask_token=True), 'hf'),
    'DINOv2 of mmpretrain': (DINOV2, 'mmpretrain'),
    'DINOv3': (None, 'timm'),
}
SHORT = {
    'knn.test_evaluator.k': (1, 3),
    'linear.train_cfg.max_epochs': 2,
    'linear-blocks.train_cfg.max_epochs': 2,
    'nearest.queries': 2,
    'nearest.k': 2,
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """All that the default rows read, a few pictures each."""
    root = tmp_path_factory.mktemp('data')
    write_imagenet(root / 'imagenet', None)
    make_revisited(root / 'revisitop', 'roxford5k')
    make_revisited(root / 'revisitop', 'rparis6k')
    make_copydays(root, blocks=3, others=4)
    write_tree(root / 'DAVIS', square=moving_square(frames=3))
    write_boxes(root / 'VOCdevkit/VOC2007')
    voc = write_voc(root / 'VOCdevkit/VOC2012')
    (voc / 'SegmentationClass').mkdir()
    for path in (voc / 'SegmentationObject').iterdir():
        shutil.copy(path, voc / 'SegmentationClass')
    lists = voc / 'ImageSets/Segmentation'
    shutil.copy(lists / 'val.txt', lists / 'train.txt')
    write_ade20k(root / 'ade/ADEChallengeData2016')
    return root


def stand_in(name, folder, **changes):
    """A file of random weights in the names of another library."""
    torch.manual_seed(0)
    kwargs, format_ = FAMILIES[name]
    if kwargs is None:
        return dinov3(folder)
    kwargs = dict(kwargs, **changes)
    init_default_scope('mmdino')
    teacher = build_module(
        dict(
            type='mmdino.FrozenTeacher',
            backbone=dict(type='mmdino.VisionTransformer', **kwargs),
            data_preprocessor=dict(
                type='mmdino.MultiViewDataPreprocessor',
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                bgr_to_rgb=True)))
    teacher.init_weights()
    torch.save(
        dict(
            state_dict=add_prefix(teacher.state_dict(), 'teacher.'),
            meta=dict(network=teacher.network_cfg)), folder / 'ours.pth')
    files = dict(hf='model.safetensors', timm='model.safetensors')
    path = folder / files.get(format_, f'{format_}.pth')
    convert_file(str(folder / 'ours.pth'), str(path), None, format_)
    (folder / 'ours.pth').unlink()
    return path


def dinov3(folder):
    name, model = 'vit_small_patch16_dinov3', dict(
        depth=4, embed_dim=48, num_heads=3)
    vit = timm.create_model(name, num_classes=0, **model)
    save_file(vit.state_dict(), folder / 'model.safetensors')
    (folder / 'config.json').write_text(
        json.dumps(dict(architecture=name, model_args=model)))
    return folder


def in_this_process(tool, arguments, folder, processes=1):
    in_process(tool, *arguments)


@pytest.mark.slow
@pytest.mark.parametrize('name', FAMILIES)
def test_every_row_is_filled_or_says_what_it_lacks(name, data, tmp_path,
                                                   monkeypatch):
    monkeypatch.setattr(suites, 'call_tool', in_this_process)
    path = stand_in(name, tmp_path)
    suite = Suite(None, str(path), data, tmp_path / 'suite', options=SHORT)
    outcomes = {row.key: suite.attempt(row) for row in suite.rows}
    assert not {k: o.error for k, o in outcomes.items() if o.error}
    lacking = {key: o.lacking for key, o in outcomes.items() if o.lacking}
    assert 'which needs masks' in lacking.pop('attention')
    assert 'which needs masks' in lacking.pop('discovery')
    assert 'are not ShapeScenes' in lacking.pop('dense')
    assert not lacking
    for outcome in outcomes.values():
        if outcome.result:
            values = outcome.result.get('values', {})
            assert values or outcome.result['pictures']
            assert all(math.isfinite(value) for value in values.values())
    assert len(outcomes) == len([row for row in ROWS if not row.long])


@pytest.mark.slow
def test_two_processes_equal_one(data, tmp_path):
    path, figures = stand_in('DINOv2, registers', tmp_path), []
    rows = ('knn low-shot-10 voc12 discovery-voc07 dense-voc12 roxford '
            'copydays davis').split()
    options = {k: v for k, v in SHORT.items() if k.split('.')[0] in rows}
    for processes in (1, 2):
        suite = Suite(None, str(path), data, tmp_path / f'{processes}',
                      processes, options, rows)
        outcomes = [suite.attempt(row) for row in suite.rows]
        assert not [o.error for o in outcomes if o.error]
        figures.append([o.result['values'] for o in outcomes])
    for one, two in zip(*figures):
        assert two == pytest.approx(one, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['DINOv2', 'DINOv2, registers',
                                  'DINOv2 of timm',
                                  'DINOv2 of transformers'])  # yapf: disable
def test_check_at_the_sizes_of_the_real_networks(name, tmp_path, capsys):
    """518 px, 224 px, not square; a verdict and an exit status."""
    kwargs, format_ = FAMILIES[name]
    path = stand_in(name, tmp_path, img_size=518)
    in_process('convert_checkpoint', path, tmp_path / 'out.pth', '--to',
               'mmdino', '--check')
    said = capsys.readouterr().out
    for size in ('518 x 518', '224 x 224', '504 x 532'):
        assert f'{format_:12} {size}' in said
    assert 'Check passed: features differ by' in said


def test_the_data_of_a_checkpoint_without_a_run(data, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(suites, 'print_log',
                        lambda text, **kwargs: said.append(text))
    path = stand_in('DINOv3', tmp_path)
    suite = Suite(None, str(path), data, tmp_path / 'suite')
    assert suite.own_data == 'imagenet'
    assert 'holds no config of a run' in said[0] and 'knn.py' in said[0]
    assert suites.default_run('dino_cifar10').endswith(
        'dino_resnet10_cifar10.py')


@pytest.mark.parametrize('name,size', [('attention-voc12', 476),
                                       ('copydays', 322), ('davis', 476)])
def test_sizes_of_benchmarks_fall_into_patches(name, size, tmp_path):
    """And the checkpoint alone tells the network, of all that wrap one."""
    path = stand_in('DINOv2, registers', tmp_path)
    cfg = read_config(f'configs/benchmarks/{name}.py')
    use_checkpoint(cfg, str(path))
    fill_sizes(cfg)
    steps = cfg.test_dataloader.dataset.pipeline
    assert size in (steps[0].get('short_side'), *steps[1].get('scale', ()))
    assert build_module(cfg.model).backbone.patch_size == 14
    before = read_config(f'configs/benchmarks/{name}.py')
    use_checkpoint(before, str(stand_in('DINO', tmp_path)))
    fill_sizes(before)
    steps = before.test_dataloader.dataset.pipeline
    assert steps[0].get('short_side', 480) == 480
    assert steps[0].get('divisor', 64) == 64
    assert steps[1].get('scale', (480, 480)) in ((480, 480), (320, 320))


@pytest.mark.parametrize('name', ['discovery-voc07', 'davis'])
def test_what_wraps_a_network_takes_a_checkpoint(name, tmp_path):
    cfg = read_config(f'configs/benchmarks/{name}.py')
    use_checkpoint(cfg, str(stand_in('DINO', tmp_path)))
    assert build_module(cfg.model).has_weights
