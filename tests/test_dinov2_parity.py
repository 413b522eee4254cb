"""Trajectories of DINOv2's authors, through MMEngine's Runner.

Every ``v2_trajectory*.npz`` of the folder ``MMDINO_GOLDEN_V2`` is run with the
settings it holds. Crops and masks come from the file.
"""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS
from mmengine.runner import Runner
from torch import nn

from mmdino.weights.formats.dinov2 import from_dinov2_vit
from tests import golden
from tests.test_training_parity import Recorder
from tests.tiny import base_cfg

FILES = golden.files('v2_trajectory*.npz', golden.GOLDEN_V2)
# What build_cfg reads, or what the tensors tell and is asserted.
SETTINGS = {
    'optimizer', 'separate_head', 'guard', 'num_local_crops', 'epochs',
    'iters_per_epoch', 'batch_size', 'cls_out_dim', 'patch_out_dim',
    'num_registers', 'ffn', 'base_lr', 'min_lr', 'warmup_iters',
    'base_momentum', 'koleo_weight', 'ibot_weight', 'layer_decay',
    'patch_embed_lr_mult', 'clip_grad_per_network', 'freeze_last_layer_iters',
    'warmup_teacher_temp', 'teacher_temp', 'warmup_teacher_temp_iters',
    'weight_decay_start', 'weight_decay_end', 'num_heads', 'final_momentum',
    'drop_path_rate', 'student_temp', 'center_momentum', 'dino_weight'
}
GUARDS = dict(
    centering='MeanCentering',
    sinkhorn_knopp='SinkhornKnopp',
)
PARTS = {
    'backbone.': 'backbone.',
    'dino_head.': 'head.',
    'ibot_head.': 'patch_head.'
}


@MODELS.register_module(force=True)
class RecordedMasks(nn.Module):
    """The masks of a trajectory, those of one iteration after the other."""

    def __init__(self, path, start=0):
        super().__init__()
        data = golden.load(path)
        self.masks = [
            torch.from_numpy(data[f'step{i}.masks']).flatten(0, 1)
            for i in range(len(data['loss']))
        ]
        self.step = start

    def forward(self, num_images, grid):
        self.step += 1
        return self.masks[self.step - 1]


def read_settings(data):
    setting = golden.settings(data)
    unread = setting.keys() - SETTINGS
    assert not unread, f'settings that no test reads: {unread}'
    return setting


def networks(data, prefix):
    """Our state dict of what a file keeps under a prefix."""
    backbone = f'{prefix}backbone.'
    state = from_dinov2_vit({
        key[len(backbone):]: torch.from_numpy(value)
        for key, value in data.items() if key.startswith(backbone)
    })
    state = {f'backbone.{key}': value for key, value in state.items()}
    for theirs, ours in [*PARTS.items()][1:]:
        for key, value in golden.state(data, f'{prefix}{theirs}').items():
            state[ours + key] = value
    return state


def backbone_cfg(data, setting):
    told = dict(num_heads=setting.get('num_heads', 3))
    cfg, _ = golden.v2_vit(data, 'initial.backbone.', **told)
    return dict(cfg, drop_path_rate=setting.get('drop_path_rate', 0.))


def head_cfg(data, part):
    cfg = golden.head_cfg(golden.state(data, f'initial.{part}'))
    cfg.pop('in_channels')
    return dict(cfg, norm_last_layer=False)


def model_cfg(path, data, setting):
    centering = dict(type=f"mmdino.{GUARDS[setting['guard']]}")
    if 'center_momentum' in setting and setting['guard'] == 'centering':
        centering['momentum'] = setting['center_momentum']
    temp = setting.get('student_temp', .1)
    cfg = dict(
        type='mmdino.DINOv2',
        data_preprocessor=dict(type='PassThrough'),
        backbone=backbone_cfg(data, setting),
        head=head_cfg(data, 'dino_head.'),
        centering=centering,
        loss=dict(type='mmdino.DINOLoss', student_temp=temp),
        masking=dict(type='RecordedMasks', path=str(path)),
        patch_centering=centering,
        patch_loss=dict(type='mmdino.IBOTLoss', student_temp=temp),
        patch_weight=setting['ibot_weight'],
        koleo_weight=setting['koleo_weight'])
    if setting['koleo_weight']:
        cfg['koleo'] = dict(type='mmdino.KoLeoLoss')
    assert cfg['head']['out_dim'] == setting['cls_out_dim']
    if setting['separate_head']:
        cfg['patch_head'] = head_cfg(data, 'ibot_head.')
        assert cfg['patch_head']['out_dim'] == setting['patch_out_dim']
    assert cfg['backbone']['num_registers'] == setting['num_registers']
    assert setting['ffn'].startswith('swiglu') == bool(
        cfg['backbone']['layer_cfgs'])
    assert setting.get('dino_weight', 1) == 1
    return cfg


def build_cfg(path, work_dir):
    """The repository's hooks and runtime with the settings of the file."""
    data = golden.load(path)
    setting = read_settings(data)
    cfg = base_cfg()
    cfg.model = model_cfg(path, data, setting)
    cfg.train_dataloader = dict(
        batch_size=setting['batch_size'],
        num_workers=0,
        sampler=dict(
            type='InOrder',
            epoch_length=setting['iters_per_epoch'] * setting['batch_size']),
        collate_fn=dict(type='default_collate'),
        dataset=dict(type='RecordedCrops', path=str(path)))
    set_times(cfg, setting)
    student = networks(data, 'initial.')
    initial = {
        owner + name: value
        for owner in ('', 'teacher.')
        for name, value in student.items()
    }
    torch.save(initial, work_dir / 'initial.pth')
    cfg.load_from = str(work_dir / 'initial.pth')
    cfg.work_dir = str(work_dir)
    cfg.experiment_name = work_dir.name
    return cfg


def set_times(cfg, setting):
    """Optimizer, schedules and hooks."""
    epoch = setting['iters_per_epoch']
    assert setting['optimizer'] == 'adamw'
    cfg.train_cfg.update(max_epochs=setting['epochs'])
    cfg.auto_scale_lr.enable = False
    start, end = setting['weight_decay_start'], setting['weight_decay_end']
    clip = setting['clip_grad_per_network']
    cfg.optim_wrapper = dict(
        type='mmdino.PerNetworkClipOptimWrapper',
        constructor='mmdino.LayerDecayConstructor',
        optimizer=dict(
            type='AdamW', lr=setting['base_lr'], weight_decay=start),
        clip_grad=dict(max_norm=clip) if clip else None,
        paramwise_cfg=dict(
            layer_decay_rate=setting['layer_decay'],
            patch_embed_lr_mult=setting['patch_embed_lr_mult'],
            bias_decay_mult=0.,
            flat_decay_mult=0.))
    cfg.param_scheduler.update(
        warmup_epochs=setting['warmup_iters'] / epoch,
        end_lr=setting['min_lr'],
        end_weight_decay=end if end != start else None)
    hooks = cfg.default_hooks
    hooks.teacher.update(
        momentum=setting['base_momentum'],
        end_momentum=setting.get('final_momentum', 1.))
    hooks.centering.update(
        teacher_temp=setting['teacher_temp'],
        warmup_teacher_temp=setting['warmup_teacher_temp'],
        warmup_epochs=setting['warmup_teacher_temp_iters'] / epoch,
        by_epoch=False)
    hooks.freeze_last_layer.update(
        num_epochs=setting['freeze_last_layer_iters'] / epoch, by_rate=True)
    hooks.checkpoint.interval = setting['epochs']


class Losses(Recorder):
    """What each step had and left, in the authors' terms."""

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        scale = [g for g in groups if g['lr_scale'] == 1]
        self.now = dict(
            lr=scale[0]['lr'],
            weight_decay=max(g['weight_decay'] for g in groups),
            teacher_temp=runner.model.centering.temperature)

    def after_train_iter(self,
                         runner,
                         batch_idx,
                         data_batch=None,
                         outputs=None):
        hub = runner.message_hub
        step = dict(
            self.now,
            loss=float(outputs['loss']),
            class_loss=float(outputs['loss_cls']),
            # The authors' code shows half of each global crop's share.
            ibot_loss=float(outputs['loss_patch']) / 2,
            momentum=hub.get_scalar('train/momentum').current())
        if 'loss_koleo' in outputs:
            step['koleo_loss'] = float(outputs['loss_koleo']) / 2
        for name, centering in dict(
                center=runner.model.centering,
                patch_center=runner.model.patch_centering).items():
            if hasattr(centering, 'center'):
                step[name] = centering.center.numpy().ravel().copy()
        self.steps.append(step)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_trajectory_of_the_authors(path, tmp_path, float64):
    recorder = Losses()
    runner = Runner.from_cfg(build_cfg(path, tmp_path))
    runner.register_hook(recorder, priority='LOWEST')
    runner.train()
    data = golden.load(path)
    setting = read_settings(data)
    ours = {
        key: np.stack([step[key] for step in recorder.steps])
        for key in recorder.steps[0]
    }
    data['class_loss'] = (
        data.get('dino_local_crops_loss', 0) + data['dino_global_crops_loss'])
    ours['ibot_loss'] /= setting['ibot_weight'] or 1
    for weight, name in (('koleo_weight', 'koleo_loss'), ('ibot_weight',
                                                          'ibot_loss')):
        if not setting[weight]:
            ours.pop(name, None), data.pop(name, None)
    compared = ours.keys() & data.keys()
    assert {'loss', 'class_loss', 'teacher_temp'} <= compared
    for key in {'center', 'patch_center', 'koleo_loss', 'ibot_loss'
                } & data.keys():
        assert key in compared, key
    for key in compared:
        atol = 1e-9 if ours[key].ndim == 1 and 'loss' not in key else 1e-7
        np.testing.assert_allclose(
            ours[key], data[key], rtol=0, atol=atol, err_msg=key)
    state = runner.model.state_dict()
    for prefix, owner in (('final_student.', ''), ('final_teacher.',
                                                   'teacher.')):
        final = networks(data, prefix)
        assert len(final) == sum(key.startswith(prefix) for key in data)
        for name, value in final.items():
            torch.testing.assert_close(
                state[owner + name], value, rtol=0, atol=1e-7, msg=name)


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_multipliers_of_the_authors(path, tmp_path):
    """Rate and weight decay of every parameter, and of no other."""
    data = golden.load(path)
    cfg = build_cfg(path, tmp_path)
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    names = {p: name for name, p in model.named_parameters()}
    optimizer = cfg.optim_wrapper.optimizer
    ours = {
        names[p]: (group['lr'] / optimizer.lr,
                   group['weight_decay'] / optimizer.weight_decay)
        for group in wrapper.optimizer.param_groups
        for p in group['params']
    }
    wanted = networks(data, 'multiplier.')
    assert ours.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(
            ours[name], value, rtol=1e-15, atol=0, err_msg=name)
    groups = {*ours.values()}
    assert len(wrapper.optimizer.param_groups) == len(groups)


def test_the_trajectories_exercise_what_they_should():
    """Those of the repository, whatever folder is read otherwise."""
    own = Path(__file__).parent / 'data' / 'golden_v2'
    files = golden.files('v2_trajectory*.npz', own)
    settings = [read_settings(golden.load(path)) for path in files]
    for name in ('separate_head', 'guard', 'num_registers', 'ffn'):
        assert len({s[name] for s in settings}) > 1, name
    for setting in settings:
        assert 0 < setting['layer_decay'] < 1
        assert 0 < setting['patch_embed_lr_mult'] < 1
        assert setting['clip_grad_per_network'] > 0
        assert setting['freeze_last_layer_iters'] > 0
