"""A step that is lost: stopped or skipped, and repeated from its dump."""
import copy
import runpy
import sys

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmdino.engine.longrun.replay import replay
from tests.tiny import runner_cfg

NAME = 'nonfinite_iter3_rank0.pth'


class Poison(Hook):
    """Spoil iterations, counted from 1, and note the state before each."""

    def __init__(self, what, *iterations):
        self.what, self.iterations, self.states = what, iterations, {}

    def before_train(self, runner):
        self.register(runner, runner.model.head.last_layer)

    def register(self, runner, layer):

        def spoil(module, args, output):
            if not (runner.iter + 1 in self.iterations and module.training):
                return None
            if self.what == 'loss':
                return output * float('nan')
            output.register_hook(lambda grad: grad / 0)
            return None

        layer.register_forward_hook(spoil)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.states[runner.iter + 1] = snapshot(runner)

    def after_train(self, runner):
        self.states['end'] = snapshot(runner)


def snapshot(runner):
    return copy.deepcopy(
        dict(
            model=runner.model.state_dict(),
            optimizer=runner.optim_wrapper.optimizer.state_dict()['state']))


def train(tmp_path, poison, action, **changes):
    cfg = runner_cfg(
        tmp_path,
        epochs=3,
        backbone__drop_path_rate=.5,
        head__use_bn=True,
        **changes)
    cfg.default_hooks.nonfinite.update(action=action, max_skips=2)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(poison, priority='LOWEST')
    runner.train()
    log, = tmp_path.glob('*/*.log')
    return log.read_text()


@pytest.mark.parametrize('what,words', [
    ('loss', 'the loss is nan on rank 0'),
    ('gradient', 'a gradient is not finite on rank 0'),
])
def test_stop_before_the_step(what, words, tmp_path):
    poison = Poison(what, 3)
    with pytest.raises(
            FloatingPointError, match=f'Iteration 3: {words}.*{NAME}'):
        train(tmp_path, poison, 'stop')
    state = torch.load(tmp_path / NAME)['state_dict']
    for name, value in poison.states[3]['model'].items():
        if 'running' not in name and 'num_batches' not in name:
            torch.testing.assert_close(state[name], value, msg=name)


@pytest.mark.parametrize('what', ['loss', 'gradient'])
def test_skip_leaves_everything_as_it_was(what, tmp_path):
    poison = Poison(what, 3, 4, 6)
    log = train(tmp_path, poison, 'skip')
    assert log.count('skipped, 1 in a row') == 2
    assert log.count('skipped, 2 in a row') == 1
    assert len(list(tmp_path.glob('nonfinite*'))) == 1
    states = poison.states
    for before, after in ((3, 4), (4, 5), (6, 'end')):
        ours, theirs = states[before]['model'], states[after]['model']
        for name, value in ours.items():
            assert torch.equal(theirs[name], value), name
        for key, moments in states[before]['optimizer'].items():
            for name, value in moments.items():
                assert torch.equal(states[after]['optimizer'][key][name],
                                   value), name
    assert not torch.equal(states[5]['model']['centering.center'],
                           states[6]['model']['centering.center'])


@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('what', ['loss', 'gradient'])
def test_a_skipped_step_of_two_batches(what, fused, tmp_path):
    """The second batch is lost: all is as the first one found it."""
    cfg = runner_cfg(tmp_path, length=16, epochs=1, head__use_bn=True)
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.optim_wrapper.optimizer.fused = fused
    cfg.default_hooks.nonfinite.action = 'skip'
    poison = Poison(what, 2)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(poison, priority='LOWEST')
    runner.train()
    states = [poison.states[i]['model'] for i in (1, 3, 'end')]
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
    for name in ('centering.center', 'backbone.cls_token',
                 'head.mlp.1.running_mean'):
        assert not torch.equal(states[2][name], states[1][name]), name


def test_too_many_skips_in_a_row_stop(tmp_path):
    with pytest.raises(FloatingPointError, match='Iteration 5'):
        train(tmp_path, Poison('loss', 3, 4, 5), 'skip')


def test_the_dump_repeats_the_step(tmp_path, capsys, monkeypatch):
    """And tells which weight it was."""

    class InfiniteWeight(Poison):

        def register(self, runner, layer):
            """The weight is spoilt instead of an output."""

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 2:
                with torch.no_grad():
                    runner.model.head.mlp[0].bias[0] = float('inf')

    with pytest.raises(FloatingPointError):
        train(tmp_path, InfiniteWeight('weight'), 'stop')
    step = replay(str(tmp_path / NAME))
    assert step.iteration == 3
    assert step.bad_parameters == ['head.mlp.0.bias']
    assert step.first_bad_module == 'head.mlp.0'
    assert step.bad_inputs == []
    assert 'head.mlp.0.bias' in step.bad_gradients

    monkeypatch.setattr(sys, 'argv', ['replay_dump.py', str(tmp_path / NAME)])
    runpy.run_path('tools/replay_dump.py', run_name='__main__')
    out = capsys.readouterr().out
    assert 'Iteration 3: loss nan, was nan.' in out
    assert 'First module whose output is not finite: head.mlp.0\n' in out


def test_a_finite_loss_is_repeated_exactly(tmp_path):
    with pytest.raises(FloatingPointError):
        train(tmp_path, Poison('gradient', 3), 'stop')
    step = replay(str(tmp_path / NAME))
    assert step.loss == step.recorded_loss
    assert not step.bad_gradients  # what spoilt it was this test
