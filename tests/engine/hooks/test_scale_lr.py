import math

import pytest
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.hooks import ScaleLRHook
from mmdino.engine.launch import build_runner
from tests.tiny import runner_cfg


class Rates(Hook):

    def __init__(self):
        self.values = []

    def before_train_iter(self, runner, *args, **kwargs):
        self.values.append(runner.optim_wrapper.param_groups[0]['lr'])


def scaled_cfg(work_dir, **hook):
    cfg = runner_cfg(work_dir, epochs=2, batch_size=4)
    cfg.auto_scale_lr.enable = False
    cfg.custom_hooks = [dict(type='ScaleLRHook', **hook)]
    cfg.launcher = 'none'
    return cfg


def rates_of(cfg):
    rates = Rates()
    runner = build_runner(cfg)
    runner.register_hook(rates)
    runner.train()
    return rates.values


@pytest.mark.parametrize('rule,function', [('sqrt', math.sqrt),
                                           ('linear', float)])
def test_the_batch_of_a_step(rule, function, tmp_path):
    """Accumulated iterations count; what the rate falls to is not scaled."""
    cfg = scaled_cfg(tmp_path, base_batch_size=1024, rule=rule)
    cfg.optim_wrapper.accumulative_counts = 2
    values = rates_of(cfg)
    lr = cfg.optim_wrapper.optimizer.lr * function(8 / 1024)
    end = cfg.param_scheduler.end_lr
    for i, value in enumerate(values):
        cosine = (1 + math.cos(math.pi * i / 4)) / 2
        assert value == pytest.approx(end + (lr - end) * cosine, rel=1e-12)


def test_a_resumed_run_is_scaled_once(tmp_path):
    whole = rates_of(scaled_cfg(tmp_path / 'whole'))
    cfg = scaled_cfg(tmp_path / 'half')
    cfg.train_cfg.max_epochs = 1
    rates_of(cfg)
    cfg = scaled_cfg(tmp_path / 'half')
    cfg.resume = True
    assert rates_of(cfg) == whole[2:]


def test_without_a_schedule(tmp_path):
    cfg = scaled_cfg(tmp_path, base_batch_size=1)
    cfg.param_scheduler = []
    assert rates_of(cfg) == [2 * cfg.optim_wrapper.optimizer.lr] * 4


@pytest.mark.parametrize(
    'setting,message',
    [(dict(auto_scale_lr=dict(enable=True)), 'Both ScaleLRHook and auto_scal'),
     (dict(
         param_scheduler=dict(
             _delete_=True, type='ConstantLR', factor=.5, by_epoch=True)),
      'cannot scale the .* of ConstantLR')])
def test_what_it_does_not_go_with(setting, message, tmp_path):
    cfg = scaled_cfg(tmp_path)
    cfg.merge_from_dict(setting)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(cfg).train()


@pytest.mark.parametrize('settings,message', [
    (dict(rule='root'), "one of .*'sqrt'.* got 'root'"),
    (dict(base_batch_size=0), 'must be > 0, got 0'),
])
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ScaleLRHook(**settings)
