"""The hooks in a real Runner."""
import copy
import math
import re

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from mmdino.engine.hooks import (CenteringHook, CollapseMonitorHook,
                                 FreezeLastLayerHook, TeacherCopyHook,
                                 TeacherEMAHook)
from mmdino.engine.hooks.monitoring import MONITORS, diagnose
from mmdino.engine.longrun import NonFiniteHook
from mmdino.registry import MODELS
from tests.tiny import build_runner, constant, runner_cfg

LAST_LAYER = 'head.last_layer.parametrizations.weight.original1'


class Snapshots(Hook):
    """Copies of the model's state after each iteration."""
    priority = 'LOWEST'

    def __init__(self):
        self.states, self.temps = [], []

    def before_train(self, runner):
        self.states.append(copy.deepcopy(runner.model.state_dict()))

    def after_train_iter(self, runner, *args, **kwargs):
        self.states.append(copy.deepcopy(runner.model.state_dict()))
        self.temps.append(runner.model.centering.temperature)


def train(cfg):
    runner = Runner.from_cfg(cfg)
    snapshots = Snapshots()
    runner.register_hook(snapshots)
    runner.train()
    return runner, snapshots


def changed(before, after, name):
    return not torch.equal(before[name], after[name])


def test_last_layer_is_frozen_wholly_then_trained(tmp_path):
    runner, snapshots = train(
        runner_cfg(tmp_path, head__norm_last_layer=False))
    states, gain = snapshots.states, LAST_LAYER[:-1] + '0'
    for step in (1, 2):  # epoch 0
        for name in (LAST_LAYER, gain):
            assert not changed(states[step - 1], states[step], name)
        assert changed(states[step - 1], states[step], 'head.mlp.0.weight')
    assert changed(states[2], states[3], LAST_LAYER)
    assert changed(states[2], states[3], gain)
    param = runner.model.head.last_layer.parametrizations.weight.original1
    steps = runner.optim_wrapper.optimizer.state[param]['step']
    assert steps == 2  # no moments were kept in epoch 0


def test_last_layer_is_frozen_by_rate(tmp_path):
    """Its weights stay, its moments are filled, and it counts in the norm."""
    cfg = runner_cfg(tmp_path, head__norm_last_layer=False)
    cfg.default_hooks.freeze_last_layer.update(num_epochs=1.5, by_rate=True)
    runner, snapshots = train(cfg)
    states = snapshots.states
    for step in (1, 2, 3):  # an epoch and a half
        for name in (LAST_LAYER, LAST_LAYER[:-1] + '0'):
            assert not changed(states[step - 1], states[step], name)
        assert changed(states[step - 1], states[step], 'head.mlp.0.weight')
    assert changed(states[3], states[4], LAST_LAYER)
    param = runner.model.head.last_layer.parametrizations.weight.original1
    moments = runner.optim_wrapper.optimizer.state[param]
    assert moments['step'] == 4 and moments['exp_avg'].any()


def test_teacher_and_center_move_every_step(tmp_path):
    _, snapshots = train(runner_cfg(tmp_path))
    name = 'backbone.layers.0.attn.qkv.weight'
    states = snapshots.states
    for step, (old, new) in enumerate(zip(states, states[1:])):
        momentum = 1 - (1 - .996) * (1 + math.cos(math.pi * step / 4)) / 2
        expected = momentum * old[f'teacher.{name}'] + (1 -
                                                        momentum) * new[name]
        torch.testing.assert_close(new[f'teacher.{name}'], expected)
        assert changed(old, new, 'centering.center')


def test_temperature_changes_every_iteration(tmp_path):
    cfg = runner_cfg(tmp_path, epochs=3)
    cfg.default_hooks.centering.update(
        teacher_temp=.07,
        warmup_teacher_temp=.04,
        warmup_epochs=2,
        by_epoch=False)
    _, snapshots = train(cfg)
    expected = [.04, .05, .06, .07, .07, .07]
    assert snapshots.temps == pytest.approx(expected)


def test_temperature_changes_every_epoch(tmp_path):
    cfg = runner_cfg(tmp_path, epochs=4)
    cfg.default_hooks.centering.update(
        teacher_temp=.08, warmup_teacher_temp=.04, warmup_epochs=3)
    _, snapshots = train(cfg)
    assert snapshots.temps == pytest.approx(
        [.04, .04, .06, .06, .08, .08, .08, .08])


def test_accumulated_batches_equal_one(tmp_path, float64):
    whole = constant(runner_cfg(tmp_path / 'whole', batch_size=4, length=16))
    halves = constant(runner_cfg(tmp_path / 'half', batch_size=2, length=16))
    halves.optim_wrapper.accumulative_counts = 2
    one, _ = train(whole)
    two, snapshots = train(halves)
    for name, value in one.model.state_dict().items():
        torch.testing.assert_close(
            two.model.state_dict()[name], value, rtol=0, atol=1e-6, msg=name)
    states = snapshots.states
    for name in ('centering.center', 'teacher.backbone.cls_token'):
        assert not changed(states[0], states[1], name)  # only collected
        assert changed(states[1], states[2], name)


def test_logged_quantities(tmp_path):
    runner = build_runner(tmp_path)
    runner.train()
    scalars = runner.message_hub.log_scalars
    for name in ('loss', *MONITORS, 'kl', 'lr', 'weight_decay', 'momentum',
                 'teacher_temp', 'grad_norm'):
        assert len(scalars[f'train/{name}'].data[0]) == 4, name


@pytest.mark.parametrize('entropy,share,information,words', [
    (math.log(64), 1 / 64, 0., r'uniform.*4\.159.*ln K = 4\.159'),
    (4.158, .02, .001, 'uniform'),
    (.01, .97, .02, 'one prototype takes 97%'),
    (1.67, .4, .0123, r'all images have the same target.* 0\.0123'),
])
def test_diagnosis(entropy, share, information, words):
    assert re.search(words, diagnose(64, entropy, share, information))


@pytest.mark.parametrize('entropy,share,information', [
    (2.9, .1, 1.2),
    (3.9, .05, .2),
    (.3, .2, 2.),
])
def test_no_false_alarm(entropy, share, information):
    assert diagnose(64, entropy, share, information) is None


@MODELS.register_module(force=True)
class BareLoss(torch.nn.Module):

    def forward(self, student, targets):
        return student.square().mean()


def test_a_loss_of_ones_own_needs_nothing(tmp_path):
    cfg = runner_cfg(tmp_path, loss=dict(type='BareLoss'))
    cfg.default_hooks.collapse.update(interval=1, begin=0)
    runner = Runner.from_cfg(cfg)
    runner.train()
    scalars = runner.message_hub.log_scalars
    assert 'train/kl' not in scalars
    assert all(f'train/{name}' in scalars for name in MONITORS)


def test_nothing_stays_on_model_and_optimizer(tmp_path):
    cfg = runner_cfg(tmp_path)
    cfg.default_hooks.teacher = dict(
        type='TeacherCopyHook', when='before_step')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert not runner.optim_wrapper.optimizer._optimizer_step_pre_hooks
    assert not runner.model._forward_pre_hooks
    assert not runner.model._forward_hooks


def test_uniform_output_is_reported_once(tmp_path):
    cfg = runner_cfg(tmp_path, epochs=3)
    cfg.default_hooks.collapse.update(interval=1, begin=1)
    cfg.default_hooks.centering.update(
        teacher_temp=1e3, warmup_teacher_temp=1e3)
    cfg.optim_wrapper.optimizer.lr = 0.
    Runner.from_cfg(cfg).train()
    log, = tmp_path.glob('*/*.log')
    warnings = re.findall('WARNING.*output is uniform', log.read_text())
    assert len(warnings) == 1
    assert 'Iteration 3: the output is uniform' in log.read_text()


def test_the_monitor_waits_for_the_first_figures(tmp_path):
    cfg = runner_cfg(tmp_path)
    cfg.default_hooks.collapse.update(interval=1, begin=0)
    cfg.default_hooks.logger.interval = 3
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.iter == 4
    assert 'collapse' in runner.message_hub.runtime_info


@pytest.mark.parametrize('hook,args,message', [
    (TeacherEMAHook, dict(momentum=1.2), 'got 1.2'),
    (CenteringHook, dict(teacher_temp=0), 'must be > 0, got 0'),
    (CenteringHook, dict(warmup_epochs=-1), 'got -1'),
    (CenteringHook, dict(warmup_epochs=1.5), 'within an epoch'),
    (FreezeLastLayerHook, dict(num_epochs=-2), 'got -2'),
    (TeacherCopyHook, dict(when='daily'), "got 'daily'"),
    (NonFiniteHook, dict(action='ignore'), "got 'ignore'"),
    (NonFiniteHook, dict(action='skip', max_skips=0), 'got 0'),
])
def test_bad_values(hook, args, message):
    with pytest.raises(ValueError, match=message):
        hook(**args)


@pytest.mark.parametrize(
    'hook', [CenteringHook, CollapseMonitorHook, FreezeLastLayerHook])
def test_a_loop_without_epochs_is_refused(tmp_path, hook):
    runner = build_runner(tmp_path)
    runner._train_loop = IterBasedTrainLoop(
        runner, runner.train_dataloader, max_iters=2)
    with pytest.raises(
            TypeError,
            match=f'{hook.__name__} counts epochs, but '
            "train_cfg builds a IterBasedTrainLoop: use train_cfg.type="
            "'ResumableTrainLoop' .*with max_epochs"):
        hook().before_train(runner)


def test_another_model_is_refused(tmp_path):
    runner = build_runner(tmp_path)
    runner.model = torch.nn.Linear(1, 1)
    with pytest.raises(TypeError, match='but the model is a Linear'):
        FreezeLastLayerHook().before_train(runner)
