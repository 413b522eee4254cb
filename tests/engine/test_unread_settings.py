"""A setting that nothing reads is an error, one that is read is not."""
from pathlib import Path

import pytest
from mmengine.config import Config

from mmdino.engine import settings
from mmdino.engine.configs import read_config
from mmdino.engine.settings import accepted, check_settings
from mmdino.registry import HOOKS, MODELS

ROOT = Path('configs')
CONFIGS = sorted(
    p for p in ROOT.rglob('*.py') if '_base_' not in p.parts
    and 'ablations' not in p.parts and 'mmdet' not in p.parts)


@pytest.fixture
def user(tmp_path):
    """Write a config that inherits from ours; return its path."""

    def write(text, base='configs/dino_vit-s16.py'):
        path = tmp_path / 'mine.py'
        path.write_text(f"_base_ = '{Path(base).absolute()}'\n{text}\n")
        return str(path)

    return write


@pytest.mark.parametrize('path', CONFIGS, ids=str)
def test_every_key_of_ours_is_read(path):
    if 'mmseg' in path.parts:  # its bases are mmseg's, which is an extra
        pytest.importorskip('mmseg')
    cfg = read_config(str(path))
    if cfg.default_scope == 'mmdino':  # others have their toolbox's variables
        assert {*cfg} <= settings.KEYS


@pytest.mark.parametrize('line,told', [
    ('optim_wraper = dict(x=1)',
     "'optim_wraper'.*did you mean 'optim_wrapper"),
    ('train_dataloder = dict(x=1)', "did you mean 'train_dataloader'"),
    ('default_hook = dict(x=1)', "did you mean 'default_hooks'"),
    ('randomnes = dict(seed=1)', "did you mean 'randomness'"),
    ('load_form = "a.pth"', "did you mean 'load_from'"),
    ('dataroot = "data"', "did you mean 'data_root'"),
    ('teacher_snapshot = dict()', "did you mean 'teacher_snapshots'"),
])
def test_misspelled_top_level(user, line, told):
    with pytest.raises(ValueError, match=told):
        read_config(user(line))


def test_other_variables_are_told_of(user, monkeypatch):
    told = []
    monkeypatch.setattr(settings, 'print_log',
                        lambda text, logger: told.append(text))
    cfg = read_config(user('my_size = 3\n_hidden = 4\ntrain_pipeline = []'))
    assert len(told) == 1
    assert told[0].startswith('Nothing reads these variables of ')
    assert told[0].endswith(': my_size, train_pipeline.')
    assert '_hidden' not in cfg


@pytest.mark.parametrize('line,told', [
    ('auto_scale_lr = dict(enabled=False)',
     "auto_scale_lr.enabled=False: .* Did you mean 'enable'"),
    ('optim_wrapper = dict(paramwise_cfg=dict(bias_decay_mul=1.))',
     "bias_decay_mul=1.0: .* Did you mean 'bias_decay_mult'"),
    ('optim_wrapper = dict(clip_grad=dict(max_nrm=1.))', "mean 'max_norm'"),
    ('optim_wrapper = dict(acumulative_counts=2)', "'accumulative_counts'"),
    ('optim_wrapper = dict(optimizer=dict(weight_dcay=2))', "'weight_decay'"),
    ('param_scheduler = dict(warmup_epoch=1)', "mean 'warmup_epochs'"),
    ('randomness = dict(sed=1)', "mean 'seed'"),
    ('env_cfg = dict(cudn_benchmark=True)', "mean 'cudnn_benchmark'"),
    ('env_cfg = dict(mp_cfg=dict(start=1))', "env_cfg.mp_cfg.start=1"),
    ('train_dataloader = dict(batchsize=1)', "mean 'batch_size'"),
    ('train_dataloader = dict(sampler=dict(shufle=1))', "mean 'shuffle'"),
    ('train_dataloader = dict(dataset=dict(datarot=1))', "mean 'data_root'"),
    ('train_dataloader = dict(dataset=dict(pipeline=dict(views=dict('
     'local=dict(crop=dict(scales=(.1, 1.)))))))', "mean 'scale'"),
    ('val_cfg = dict(gallery_dataloader=dict(num_worker=1))',
     "val_cfg.gallery_dataloader.num_worker=1"),
    ('train_cfg = dict(max_epoch=1)', "mean 'max_epochs'"),
    ('default_hooks = dict(teacher=dict(momentun=1))', "mean 'momentum'"),
    ('default_hooks = dict(checkpoint=dict(max_keep_ckpt=1))',
     "mean 'max_keep_ckpts'"),
    ('model = dict(bakbone=dict(type="VisionTransformer"))',
     "mean 'backbone'"),
    ('model = dict(backbone=dict(patchsize=8))', "mean 'patch_size'"),
    ('model = dict(head=dict(out_dims=8))', "mean 'out_dim'"),
    ('val_evaluator = dict(ks=(20,))', "KNNAccuracy has no setting 'ks'"),
])
def test_misspelled_below(user, line, told):
    with pytest.raises(ValueError, match=told):
        read_config(user(line))


@pytest.mark.parametrize('line,told', [
    ('train_cfg = dict(max_epochs="ten")',
     "train_cfg.max_epochs must be a number, got 'ten'"),
    ('randomness = dict(seed="x")', 'randomness.seed must be a number'),
    ('randomness = dict(deterministic="no")', 'must be True or False'),
    ('optim_wrapper = dict(optimizer=dict(lr="1e-3x"))', "got '1e-3x'"),
    ('train_dataloader = dict(batch_size="all")', 'batch_size must be a num'),
    ('train_dataloader = dict(sampler=dict(shuffle="no"))', 'True or False'),
    ('default_hooks = dict(teacher=dict(momentum="high"))', 'momentum must'),
    ('default_hooks = dict(checkpoint=dict(interval="x"))', 'interval must'),
    ('model = dict(head=dict(out_dim="4k"))', "must be a number, got '4k'"),
    ('model = dict(head=dict(use_bn="yes"))', "True or False, got 'yes'"),
    ('param_scheduler = dict(warmup_epochs="1,")', 'warmup_epochs must'),
    ('train_dataloader = dict(dataset=dict(pipeline=dict(views=dict('
     'local=dict(crop=dict(scale=".1"))))))', 'scale must be a number'),
])
def test_text_for_a_number(user, line, told):
    with pytest.raises(ValueError, match=told):
        read_config(user(line))


@pytest.mark.parametrize('line', [
    'custom_hooks = [dict(type="EMAHook", priority="LOW")]',
    'optim_wrapper = dict(type="AmpOptimWrapper", loss_scale="dynamic")',
    'default_hooks = dict(checkpoint=dict(save_best="auto", by_epoch=True))',
    'model = dict(backbone=dict(init_cfg=dict(type="Pretrained", '
    'checkpoint="a", prefix="b")))',
    'train_dataloader = dict(prefetch_factor=4, timeout=10)',
    'model = dict(backbone=dict(_delete_=True, type="TimmBackbone", '
    'model_name="resnet18", any_of_timm=1))',
    'env_cfg = dict(dist_cfg=dict(timeout=1800))',
    'log_processor = dict(window_size=5)',
    'optim_wrapper = dict(paramwise_cfg=dict(custom_keys=dict(x=dict('
    'lr_mult=.1)), norm_decay_mult=0.))',
])
def test_what_is_read(user, line):
    key = line.partition(' ')[0]
    assert read_config(user(line))[key]


def test_what_another_toolbox_defines_is_not_judged():
    check_settings(
        Config(
            dict(
                default_scope='mmdino',
                model=dict(
                    type='DINOHead', _scope_='mmseg', no_such_setting=1))))


def test_arguments_through_constructors():
    assert {'interval', 'max_keep_ckpts',
            'backend_args'} <= accepted(HOOKS.get('SafeCheckpointHook'))
    assert accepted(MODELS.get('TimmBackbone')) is None
