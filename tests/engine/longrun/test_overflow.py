"""An overflow of the loss scale is the scaler's business."""
import copy
import os

import pytest
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper

from mmdino.engine.launch import build_runner
from tests.launching import ROOT
from tests.ranks import run_ranks
from tests.tiny import let_cpus_scale, runner_cfg

OVERFLOWS = 2.**120  # finite, but not what it is multiplied by
GPU_SCALER = amp_optimizer_wrapper.GradScaler


class Snapshots(Hook):
    """The state after each iteration."""
    priority = 'LOWEST'

    def __init__(self):
        self.states = []

    def before_train(self, runner):
        self.after_train_iter(runner)

    def after_train_iter(self, runner, *args, **kwargs):
        model = getattr(runner.model, 'module', runner.model)
        self.states.append(copy.deepcopy(model.state_dict()))


@pytest.fixture(autouse=True)
def scaler_on_a_cpu(monkeypatch):
    let_cpus_scale(monkeypatch)


@pytest.mark.parametrize(
    'name',
    ['scale', 'unscale_', 'step', 'update', 'state_dict', 'load_state_dict'])
def test_gpus_have_the_same_scaler(name):
    """In what the wrapper calls, with both of MMEngine's distributions."""
    kind = type(GPU_SCALER(enabled=False))
    assert getattr(kind, name) is getattr(torch.amp.GradScaler, name)


def train(folder, fused, scale=OVERFLOWS, accumulate=1, clip=True, **scaler):
    cfg = runner_cfg(folder, epochs=3, length=16, batch_size=4)
    cfg.launcher = 'pytorch' if torch.distributed.is_initialized() else 'none'
    cfg.optim_wrapper.update(
        type='PerParameterClipAmpOptimWrapper',
        accumulative_counts=accumulate,
        loss_scale=dict(
            device='cpu', init_scale=scale, growth_interval=1000, **scaler))
    cfg.optim_wrapper.optimizer.fused = fused
    if not clip:
        cfg.optim_wrapper.clip_grad = None
    runner = build_runner(cfg)
    snapshots = Snapshots()
    runner.register_hook(snapshots)
    runner.train()
    return runner, snapshots.states


def moved(states, name):
    """Whether each iteration has changed it."""
    return [
        not torch.equal(old[name], new[name])
        for old, new in zip(states, states[1:])
    ]


def check(runner, states, overflows, accumulate=1):
    """The first steps overflow, the others do not."""
    assert runner.iter == 12
    steps = [(i + 1) % accumulate == 0 for i in range(len(states) - 1)]
    taken = [step and i >= overflows for i, step in enumerate(steps)]
    assert moved(states, 'backbone.cls_token') == taken
    assert moved(states, 'centering.center') == steps
    # While both networks are equal the teacher's average is the same.
    assert any(moved(states, 'teacher.backbone.cls_token')) == any(taken)


@pytest.mark.parametrize('clip', [True, False])
@pytest.mark.parametrize('fused', [True, False])
@pytest.mark.parametrize('accumulate', [1, 2])
def test_only_the_optimizers_step_is_left_out(fused, clip, accumulate,
                                              tmp_path):
    runner, states = train(
        tmp_path,
        fused,
        accumulate=accumulate,
        clip=clip,
        backoff_factor=2.**-60)
    # 2^120 and 2^60 are too much for some gradient, 1 is not.
    scale = runner.optim_wrapper.loss_scaler.get_scale()
    overflows = [2.**120, 2.**60, 1.].index(scale) * accumulate
    assert overflows
    check(runner, states, overflows, accumulate)
    assert not list(tmp_path.glob('nonfinite*'))


@pytest.mark.parametrize('fused', [True, False])
def test_one_that_no_scale_ends_stops(fused, tmp_path, monkeypatch):
    monkeypatch.setattr('mmdino.engine.longrun.non_finite.MAX_OVERFLOWS', 5)
    with pytest.raises(
            FloatingPointError,
            match='Iteration 6: 6 steps in a row have gradients that are not'):
        train(tmp_path, fused, backoff_factor=.999999)


def on_two(rank, folder, fused):
    os.chdir(ROOT)  # of the configs
    with pytest.MonkeyPatch.context() as monkeypatch:
        let_cpus_scale(monkeypatch)
        runner, states = train(folder / 'run', fused, backoff_factor=2.**-60)
        scale = runner.optim_wrapper.loss_scaler.get_scale()
        overflows = [2.**120, 2.**60, 1.].index(scale)
        assert overflows
        taken = [i >= overflows for i in range(6)]
        assert moved(states, 'backbone.cls_token') == taken
        assert moved(states, 'centering.center') == 6 * [True]
        torch.save(states[-1], folder / f'{get_rank()}.pt')


@pytest.mark.parametrize('fused', [True, False])
def test_on_two_processes(fused, tmp_path):
    run_ranks(on_two, tmp_path, fused)
    ours, theirs = (torch.load(tmp_path / f'{r}.pt') for r in range(2))
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name
