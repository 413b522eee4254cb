"""Schedules as MMEngine and our hooks produce them in a Runner."""
import re

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.hooks.centering import linear_warmup
from mmdino.engine.hooks.teacher import cosine
from tests import golden
from tests.tiny import runner_cfg

DATA = golden.load(golden.files('schedules.npz')[0])


def recorded(kind):
    """The golden values of a kind and the settings its key states."""
    key, = (k for k in DATA if k.startswith(kind + '('))
    return DATA[key], dict(re.findall(r'(epochs|iters|warmup)=(\d+)', key))


class Values(Hook):
    """Learning rates and weight decays of every group, and the momentum."""

    def __init__(self):
        self.lr, self.weight_decay, self.momentum = [], [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        groups = runner.optim_wrapper.optimizer.param_groups
        assert len(groups) == 2
        self.lr.append([g['lr'] for g in groups])
        self.weight_decay.append([g['weight_decay'] for g in groups])

    def after_train_iter(self, runner, *args, **kwargs):
        hub = runner.message_hub
        self.momentum.append(hub.get_scalar('train/momentum').current())


@pytest.fixture(scope='module')
def values(tmp_path_factory):
    """One run with a batch of 2 images scaled as one of 1024."""
    _, settings = recorded('lr')
    cfg = runner_cfg(
        tmp_path_factory.mktemp('run'),
        epochs=int(settings['epochs']),
        batch_size=2,
        length=2 * int(settings['iters']))
    cfg.param_scheduler = Config.fromfile(
        'configs/_base_/schedules/adamw_100e.py').param_scheduler
    assert cfg.param_scheduler.warmup_epochs == int(settings['warmup'])
    cfg.auto_scale_lr.base_batch_size = 256 * 2 / 1024
    cfg.default_hooks.checkpoint.interval = 100
    runner = Runner.from_cfg(cfg)
    recorder = Values()
    runner.register_hook(recorder)
    runner.train()
    return {k: np.array(v) for k, v in vars(recorder).items()}


def test_learning_rate(values):
    for group in values['lr'].T:
        np.testing.assert_allclose(group, recorded('lr')[0], rtol=0, atol=1e-9)


def test_weight_decay_of_the_decayed_group_only(values):
    decays = values['weight_decay']
    decayed = decays.max(0).argmax()
    np.testing.assert_allclose(
        decays[:, decayed], recorded('wd')[0], rtol=0, atol=1e-9)
    assert not decays[:, 1 - decayed].any()


def test_teacher_momentum(values):
    np.testing.assert_allclose(
        values['momentum'], recorded('momentum')[0], rtol=0, atol=1e-9)


def test_teacher_temperature():
    data = golden.load(golden.files('loss.npz')[0])
    key, = (k for k in data if k.startswith('teacher_temp_schedule'))
    ours = [linear_warmup(epoch, 3, .04, .07) for epoch in range(10)]
    np.testing.assert_allclose(ours, data[key], rtol=0, atol=1e-12)
    assert linear_warmup(0, 0, .04, .07) == .07
    assert linear_warmup(0, 1, .04, .07) == .04


def test_cosine_stops_short_of_its_end():
    assert cosine(0, 10, .996, 1.) == .996
    assert .996 < cosine(9, 10, .996, 1.) < 1.
