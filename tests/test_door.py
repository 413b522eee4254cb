"""What every tool does with a checkpoint that is, or is not, the right one."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmdino.engine.configs import read_config
from mmdino.models import FrozenTeacher
from mmdino.weights import CheckpointError, convert_file, open_weights
from tests.tools.test_train_and_test import config, in_process  # noqa: F401

SMALL = 'train_cfg.max_epochs=1'
FORMATS = ('official', 'timm', 'hf', 'mmpretrain')
# One .pth and one .safetensors; tests/weights has all.
SOME_FORMATS = ('official', 'timm',
                *(pytest.param(name, marks=pytest.mark.slow)
                  for name in ('hf', 'mmpretrain')))


@pytest.fixture(scope='module')
def trained(config):  # noqa: F811
    """A run's checkpoint and a snapshot of its teacher."""
    work_dir = config.parent / 'door'
    cfg = Config.fromfile(config)
    cfg.default_hooks.snapshot = dict(type='TeacherSnapshotHook', interval=1)
    path = config.with_name('with_snapshots.py')
    cfg.dump(path)
    in_process('train', path, '--work-dir', work_dir, '--no-validate',
               '--cfg-options', SMALL)
    return work_dir / 'epoch_1.pth'


@pytest.fixture(scope='module')
def files(trained):
    """The teacher's backbone under the names of other libraries."""
    paths = {}
    for name in FORMATS:
        ending = 'safetensors' if name in ('timm', 'hf') else 'pth'
        paths[name] = trained.with_name(f'{name}.{ending}')
        convert_file(
            str(trained), str(paths[name]), 'mmdino', name, which='teacher')
    return paths


def other(config, path, **backbone):  # noqa: F811
    """The config with another network."""
    cfg = Config.fromfile(config)
    arch = backbone.pop('arch', {})
    cfg.model.backbone.update(backbone)
    cfg.model.backbone.arch.update(arch)
    cfg.dump(path)
    return path


def score(config, checkpoint, folder):  # noqa: F811
    in_process('test', config, checkpoint, '--work-dir', folder, '--out',
               folder / 'metrics.json')
    found = json.loads((folder / 'metrics.json').read_text())
    return {k: v for k, v in found.items() if 'time' not in k}


@pytest.mark.parametrize('name', SOME_FORMATS)
def test_other_formats_score_as_ours(
        config,  # noqa: F811
        trained,
        files,
        name,
        tmp_path):
    wanted = score(config, trained, tmp_path)
    assert score(config, files[name], tmp_path) == wanted


@pytest.mark.parametrize('changes,message', [
    (dict(patch_size=4), 'patch size: 8 in the file, 4 in the config'),
    (dict(arch=dict(num_layers=3)), 'blocks: 2 in the file, 3'),
    (dict(arch=dict(embed_dims=48)), 'width: 24 in the file, 48'),
    (dict(arch=dict(num_heads=12)), 'attention heads: 3 in the file, 12'),
    (dict(pos_embed_mode='size'), 'resized by: offset in the file, size'),
])
def test_another_network_is_not_scored(
        config,  # noqa: F811
        trained,
        changes,
        message,
        tmp_path):
    cfg = other(config, tmp_path / 'other.py', **changes)
    with pytest.raises(CheckpointError, match=message):
        in_process('test', cfg, trained, '--work-dir', tmp_path)
    assert not list(tmp_path.rglob('*.json'))


def test_another_normalisation_is_not_scored(
        config,  # noqa: F811
        trained,
        tmp_path):
    with pytest.raises(CheckpointError, match='mean: .* in the file'):
        in_process('test', config, trained, '--work-dir', tmp_path,
                   '--cfg-options', 'model.data_preprocessor.mean=[0.,0.,0.]')


def broken(kind, state):
    """A file's content that is none."""
    state = dict(state)
    if kind == 'missing':
        del state['teacher.backbone.ln1.bias']
    elif kind == 'left over':
        state['teacher.backbone.layers.2.ln1.bias'] = torch.zeros(24)
    elif kind == 'shape':
        state['teacher.backbone.ln1.bias'] = torch.zeros(25)
    return dict(
        empty={},
        nested=dict(state_dict=dict(model=state)),
        numbers=dict(epoch=3, loss=.5)).get(kind, dict(state_dict=state))


@pytest.mark.parametrize('kind,message', [
    ('missing', "missing '.*ln1.bias'"),
    ('left over', "left over '.*layers.2.ln1.bias'"),
    ('shape', r'ln1.bias \(25,\) in the file, \(24,\) in the network'),
    ('empty', 'is empty'),
    ('nested', "but 'model'.*save the state dict"),
    ('numbers', "but 'epoch', 'loss'"),
])
@pytest.mark.parametrize('tool', ['test', 'train'])
def test_a_broken_file_is_named(
        config,  # noqa: F811
        trained,
        kind,
        message,
        tool,
        tmp_path):
    state = torch.load(trained, weights_only=False)['state_dict']
    path = tmp_path / 'broken.pth'
    torch.save(broken(kind, state), path)
    args = ['test', config, path] if tool == 'test' else [
        'train', config, '--no-validate', '--cfg-options', f'load_from={path}'
    ]
    with pytest.raises(CheckpointError, match=message):
        in_process(*args, '--work-dir', tmp_path) if tool == 'test' else (
            in_process(*args[:3], '--work-dir', tmp_path, *args[3:]))
    assert not list(tmp_path.glob('epoch_*.pth'))


def first_weights(work_dir):
    return torch.load(
        work_dir / 'epoch_1.pth', weights_only=False)['state_dict']


@pytest.mark.parametrize('name', [*SOME_FORMATS, 'snapshot', 'wrapped'])
def test_training_starts_from_any_format(
        config,  # noqa: F811
        trained,
        files,
        name,
        tmp_path):
    """At a learning rate of 0 the weights stay what they were."""
    teacher = open_weights(str(trained)).part('backbone')
    path = files.get(name) or trained.with_name('teacher_epoch_1.pth')
    if name == 'wrapped':
        path = tmp_path / 'ddp.pth'
        state = torch.load(trained, weights_only=False)['state_dict']
        torch.save(
            dict(state_dict={
                f'module.{k}': v
                for k, v in state.items()
            }), path)
    in_process('train', config, '--work-dir', tmp_path, '--no-validate',
               '--cfg-options', f'load_from={path}', SMALL,
               f'experiment_name=from_{name}', 'optim_wrapper.optimizer.lr=0.',
               'optim_wrapper.optimizer.weight_decay=0.',
               'param_scheduler.end_weight_decay=None',
               'default_hooks.teacher.momentum=1.')
    state = first_weights(tmp_path)
    for key, value in teacher.items():
        assert torch.equal(state[f'teacher.backbone.{key}'], value), key
    log = next(tmp_path.glob('*/*.log')).read_text()
    begins = 'these are initialised at random' in log
    assert begins == (name != 'wrapped')


@pytest.mark.parametrize('name', [*FORMATS, 'snapshot', 'converted'])
def test_weights_alone_are_not_resumed(
        config,  # noqa: F811
        trained,
        files,
        name,
        tmp_path):
    path = files.get(name) or trained.with_name('teacher_epoch_1.pth')
    if name == 'converted':
        path = tmp_path / 'ours.pth'
        convert_file(str(trained), str(path), 'mmdino', 'mmdino')
    with pytest.raises(CheckpointError, match='cannot be resumed, it lacks'):
        in_process('train', config, '--work-dir', tmp_path, '--resume', path)
    assert not list(tmp_path.glob('epoch_*.pth'))


def test_every_file_that_is_written_tells_its_network(trained, tmp_path):
    network = open_weights(str(trained)).network
    assert network['preprocessing'] == dict(
        mean=[127.5] * 3,
        std=[64.] * 3,
        channels='RGB',
        value_range=[0, 255],
        size=32)
    assert network['backbone']['arch']['num_heads'] == 3
    ours = tmp_path / 'ours.pth'
    convert_file(str(trained), str(ours), 'mmdino', 'mmdino', which='teacher')
    for path in (trained, trained.with_name('teacher_epoch_1.pth'), ours):
        meta = torch.load(path, weights_only=False)['meta']
        assert meta['network'] == network, path


def test_only_the_teacher_is_built(trained):
    model = FrozenTeacher(str(trained))
    kept = open_weights(str(trained)).part('backbone')
    assert sum(p.numel()
               for p in model.parameters()) == sum(value.numel()
                                                   for value in kept.values())
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(m.training for m in model.train().modules())


def test_classes_of_training_and_validation_must_agree(
        config,  # noqa: F811
        trained,
        tmp_path):
    """A class folder that one of them lacks moves all later labels."""
    images = Path(Config.fromfile(config).train_dataloader.dataset.data_root)
    cfg = read_config('configs/benchmarks/linear.py')
    for name, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        loader = cfg[f'{name}_dataloader']
        loader.update(num_workers=0, batch_size=4, persistent_workers=False)
        loader.dataset.update(data_root=str(images), subset=split)
    cfg.model.update(num_classes=2, checkpoint=str(trained))
    cfg.train_cfg.max_epochs = 1
    cfg.dump(tmp_path / 'linear.py')
    in_process('train', tmp_path / 'linear.py', '--work-dir', tmp_path / 'run')
    probe = tmp_path / 'run' / 'epoch_1.pth'
    assert open_weights(str(probe)).network == open_weights(
        str(trained)).network
    in_process('test', tmp_path / 'linear.py', probe, '--work-dir',
               tmp_path / 'run')
    cfg.val_dataloader.dataset.classes = ['blue', 'green', 'red']
    cfg.dump(tmp_path / 'wrong.py')
    with pytest.raises(ValueError, match='mean different classes: 2 classes'):
        in_process('train', tmp_path / 'wrong.py', '--work-dir',
                   tmp_path / 'wrong')
