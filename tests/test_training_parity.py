"""Trajectories of the authors' code, through MMEngine's Runner.

Every ``trajectory*.npz`` of the folder ``MMDINO_GOLDEN`` is run with the
settings it holds.
"""
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import DATA_SAMPLERS, DATASETS, MODELS
from mmengine.runner import Runner
from torch.utils.data import Dataset, Sampler

from tests import golden, reference
from tests.tiny import base_cfg


@DATASETS.register_module(force=True)
class RecordedCrops(Dataset):
    """The crops of a trajectory, in their order, image by image."""

    def __init__(self, path):
        data = golden.load(path)
        self.steps = []
        for step in range(len(data['loss'])):
            views = list(data[f'step{step}.global_crops'])
            views += list(data.get(f'step{step}.local_crops', []))
            self.steps.append([torch.from_numpy(v).double() for v in views])
        self.batch_size = len(self.steps[0][0])

    def __len__(self):
        return len(self.steps) * self.batch_size

    def __getitem__(self, index):
        step, image = divmod(index, self.batch_size)
        return dict(inputs=[view[image] for view in self.steps[step]])


@DATA_SAMPLERS.register_module(force=True)
class InOrder(Sampler):
    """The images of an epoch, then those of the next; never shuffled."""

    def __init__(self, dataset, epoch_length, **kwargs):
        self.epoch_length = epoch_length
        self.epoch = 0

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __len__(self):
        return self.epoch_length

    def __iter__(self):
        start = self.epoch * self.epoch_length
        return iter(range(start, start + self.epoch_length))


@MODELS.register_module(force=True)
class PassThrough(BaseDataPreprocessor):
    """The recorded crops are normalised already."""

    def forward(self, data, training=False):
        return self.cast_data(data)


class Recorder(Hook):
    """What each step had and left."""
    priority = 'LOWEST'

    def __init__(self):
        self.steps = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        self.now = dict(
            lr=groups[0]['lr'],
            weight_decay=max(g['weight_decay'] for g in groups))

    def after_train_iter(self,
                         runner,
                         batch_idx,
                         data_batch=None,
                         outputs=None):
        hub = runner.message_hub
        self.steps.append(
            dict(
                self.now,
                loss=float(outputs['loss']),
                momentum=hub.get_scalar('train/momentum').current(),
                center=runner.model.centering.center.numpy().ravel().copy()))


OPTIMIZERS = dict(
    adamw=dict(type='AdamW'),
    sgd=dict(type='SGD', momentum=0.9),
    lars=dict(type='LARS'))


def build_cfg(path, work_dir):
    """The repository's base configs with the settings of the file."""
    data = golden.load(path)
    setting = {
        k.split('.')[1]: v.item()
        for k, v in data.items() if k.startswith('setting.')
    }
    student = golden.state(data, 'initial.')
    cfg = base_cfg()
    cfg.model = model_cfg(student, setting)
    cfg.train_dataloader = dict(
        batch_size=setting['batch_size'],
        num_workers=0,
        sampler=dict(
            type='InOrder',
            epoch_length=setting['iters_per_epoch'] * setting['batch_size']),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='RecordedCrops', path=str(path)))
    set_times(cfg, setting)
    initial = {
        f'{owner}{name}': value
        for owner in ('', 'teacher.')
        for name, value in student.items()
    }
    torch.save(initial, work_dir / 'initial.pth')
    cfg.load_from = str(work_dir / 'initial.pth')
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = work_dir.name
    return cfg


def model_cfg(student, setting):
    """The model of the sizes found in the student's weights."""
    backbone, head = ({
        k.removeprefix(part): v
        for k, v in student.items() if k.startswith(part)
    } for part in ('backbone.', 'head.'))
    cfg = Config.fromfile('configs/_base_/models/dino_vit.py').model
    cfg.backbone = golden.vit_cfg(
        backbone, num_heads=setting.get('num_heads', 3))
    cfg.head = dict(
        golden.head_cfg(head), norm_last_layer=setting['norm_last_layer'])
    cfg.head.pop('in_channels')
    assert cfg.head.out_dim == setting['out_dim']
    assert cfg.head.use_bn == setting['use_bn_in_head']
    cfg.data_preprocessor = dict(type='PassThrough')
    return cfg


def set_times(cfg, setting):
    """Optimizer, schedules and hooks."""
    cfg.train_cfg.update(max_epochs=setting['epochs'])
    cfg.auto_scale_lr.enable = False
    start, end = setting['weight_decay_start'], setting['weight_decay_end']
    cfg.optim_wrapper.optimizer = dict(
        OPTIMIZERS[setting['optimizer']],
        lr=setting['base_lr'],
        weight_decay=start)
    cfg.optim_wrapper.clip_grad = dict(
        max_norm=setting['clip_grad']) if setting['clip_grad'] else None
    cfg.param_scheduler.update(
        warmup_epochs=setting['warmup_epochs'],
        end_lr=setting['min_lr'],
        end_weight_decay=end if end != start else None)
    hooks = cfg.default_hooks
    hooks.teacher.momentum = setting['base_momentum']
    hooks.centering.update(
        teacher_temp=setting['teacher_temp'],
        warmup_teacher_temp=setting['warmup_teacher_temp'],
        warmup_epochs=setting['warmup_teacher_temp_epochs'])
    hooks.freeze_last_layer.num_epochs = setting['freeze_last_layer_epochs']
    hooks.checkpoint.interval = setting['epochs']


@pytest.mark.parametrize(
    'path', golden.files('trajectory*.npz'), ids=lambda p: p.stem)
def test_trajectory_of_the_authors(path, tmp_path, float64):
    check_trajectory(path, tmp_path)


@pytest.mark.parametrize(
    'changes', [
        dict(),
        dict(optimizer='sgd', base_lr=.03, weight_decay_end=.04),
        dict(optimizer='lars', base_lr=.3, clip_grad=0.),
        dict(norm_last_layer=False, freeze_last_layer_epochs=0),
        dict(use_bn_in_head=True),
        dict(num_local_crops=0, clip_grad=0.),
        dict(warmup_epochs=0, warmup_teacher_temp_epochs=0),
    ],
    ids=lambda c: '-'.join(c) or 'defaults')
def test_trajectory_of_the_formulas(changes, tmp_path, float64):
    path = tmp_path / 'trajectory.npz'
    np.savez(path, **reference.trajectory(**changes))
    check_trajectory(path, tmp_path)


def check_trajectory(path, tmp_path):
    """Run a recorded trajectory and compare every step and the end."""
    recorder = Recorder()
    runner = Runner.from_cfg(build_cfg(path, tmp_path))
    runner.register_hook(recorder)
    runner.train()

    data = golden.load(path)
    ours = {
        k: np.stack([s[k] for s in recorder.steps])
        for k in recorder.steps[0]
    }
    for key, atol in dict(
            lr=1e-9, weight_decay=1e-9, momentum=1e-9, loss=1e-7,
            center=1e-7).items():
        np.testing.assert_allclose(
            ours[key], data[key], rtol=0, atol=atol, err_msg=key)

    state = runner.model.state_dict()
    for prefix, owner in (('final_student.', ''), ('final_teacher.',
                                                   'teacher.')):
        final = golden.state(data, prefix)
        assert final
        for name, value in final.items():
            torch.testing.assert_close(
                state[owner + name], value, rtol=0, atol=1e-7, msg=name)


def test_the_trajectory_exercises_what_it_should():
    """Clipping and freezing are active in the recorded steps."""
    data = golden.load(golden.files('trajectory_adamw.npz')[0])
    assert data['setting.clip_grad'] > 0
    assert data['setting.freeze_last_layer_epochs'] > 0
    assert data['setting.num_local_crops'] > 0
