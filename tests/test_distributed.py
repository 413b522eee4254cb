"""However the images are spread, training comes out the same."""
import math
import os
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import convert_sync_batchnorm
from mmengine.registry import MODELS
from mmengine.registry import STRATEGIES as STRATEGY_REGISTRY
from mmengine.runner import Runner
from torch.multiprocessing import ProcessRaisedException
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm

from mmdino.engine.fsdp import FSDPStrategy
from mmdino.engine.launch import build_runner
from mmdino.engine.longrun.replay import replay
from tests.launching import (FSDP, assert_close, checkpoint, job_cfg,
                             losses_of, run_job, train_on_ranks, train_on_two,
                             write)
from tests.tiny import model_cfg
from tests.tiny_v2 import V2


@pytest.fixture
def one_process(tmp_path, float64):
    """Train alone; what comes out is what others are compared with."""

    def train(teacher=None, **settings):
        cfg = job_cfg(tmp_path / 'one', batch_size=4, **settings)
        cfg.default_hooks.teacher = teacher or cfg.default_hooks.teacher
        cfg.launcher = 'none'
        build_runner(cfg).train()
        return losses_of(tmp_path / 'one/run'), checkpoint(tmp_path /
                                                           'one/run')

    return train


STRATEGIES = pytest.mark.parametrize(
    'changes', [dict(), FSDP], ids=['ddp', 'fsdp'])


@pytest.mark.parametrize(
    'train,changes', [(train_on_two, dict()), (train_on_ranks, FSDP)],
    ids=['ddp', 'fsdp'])
def test_two_processes_equal_one_with_the_doubled_batch(
        train, changes, one_process, tmp_path):
    losses, end = one_process()
    cfg = job_cfg(tmp_path / 'two', batch_size=2)
    cfg.merge_from_dict(changes)
    train(write(cfg, tmp_path / 'two'))
    log, = (tmp_path / 'two/run').glob('*/*.log')
    assert 'Distributed training: True' in log.read_text()
    assert len(losses) == 12
    torch.testing.assert_close(
        losses_of(tmp_path / 'two/run'), losses, rtol=0, atol=1e-6)
    assert_close(checkpoint(tmp_path / 'two/run'), end)
    assert end['state_dict']['centering.center'].any()


def copying(when):
    return dict(type='TeacherCopyHook', when=when)


def test_fsdp_with_a_predictor_and_the_student_one_step_ago(
        one_process, tmp_path):
    switches = dict(predictor=dict(type='mmdino.Predictor', hidden_channels=8))
    losses, end = one_process(teacher=copying('before_step'), **switches)
    cfg = job_cfg(tmp_path / 'two', batch_size=2, **switches)
    cfg.default_hooks.teacher = copying('before_step')
    cfg.merge_from_dict(FSDP)
    train_on_ranks(write(cfg, tmp_path / 'two'))
    torch.testing.assert_close(
        losses_of(tmp_path / 'two/run'), losses, rtol=0, atol=1e-6)
    assert_close(checkpoint(tmp_path / 'two/run'), end)


def test_fsdp_copies_parameters_and_buffers(tmp_path):
    cfg = job_cfg(tmp_path, batch_size=2, head__use_bn=True)
    cfg.default_hooks.teacher = copying('after_step')
    cfg.merge_from_dict(FSDP)
    train_on_ranks(write(cfg, tmp_path))
    state = checkpoint(tmp_path / 'run')['state_dict']
    assert state['head.mlp.1.running_mean'].any()
    for name in filter(lambda name: name.startswith('teacher.'), state):
        student = state[name.removeprefix('teacher.')]
        assert torch.equal(state[name], student), name


def test_accumulated_batches_equal_whole_ones(one_process, tmp_path):
    losses, end = one_process()
    cfg = job_cfg(tmp_path / 'half', batch_size=2)
    cfg.optim_wrapper.accumulative_counts = 2
    Runner.from_cfg(cfg).train()
    halves = torch.tensor(losses_of(tmp_path / 'half/run'))
    assert len(halves) == 24
    torch.testing.assert_close(
        halves.view(12, 2).mean(1), torch.tensor(losses), rtol=0, atol=1e-6)
    assert_close(checkpoint(tmp_path / 'half/run'), end)


@pytest.mark.slow
@STRATEGIES
def test_accumulated_batches_of_two_processes(changes, one_process, tmp_path):
    _, end = one_process()
    cfg = job_cfg(tmp_path / 'two', batch_size=1)
    cfg.optim_wrapper.accumulative_counts = 2
    cfg.merge_from_dict(changes)
    train_on_two(write(cfg, tmp_path / 'two'))
    assert_close(checkpoint(tmp_path / 'two/run'), end)


def test_uneven_last_batches(one_process, tmp_path):
    """14 images: a last batch of 2, on two processes of 1 each."""
    losses, end = one_process(length=14)
    cfg = job_cfg(tmp_path / 'two', batch_size=2, length=14)
    train_on_ranks(write(cfg, tmp_path / 'two'))
    torch.testing.assert_close(
        losses_of(tmp_path / 'two/run'), losses, rtol=0, atol=1e-6)
    assert_close(checkpoint(tmp_path / 'two/run'), end)


def test_processes_with_unlike_numbers_of_batches_are_refused(
        tmp_path, monkeypatch):
    monkeypatch.setattr('mmdino.engine.longrun.loop.all_gather_object',
                        lambda length: [length, length - 1])
    with pytest.raises(ValueError, match=r'processes have \[4, 3\] batches'):
        Runner.from_cfg(job_cfg(tmp_path, batch_size=4)).train()


def test_batch_norm_on_two_processes_without_gpus(tmp_path):
    """Torch cannot synchronise it there; the statistics are averaged."""
    cfg = job_cfg(tmp_path, batch_size=4, head__use_bn=True)
    train_on_ranks(write(cfg, tmp_path))
    state = checkpoint(tmp_path / 'run')['state_dict']
    for owner in ('', 'teacher.'):
        assert state[f'{owner}head.mlp.1.running_mean'].any()
        assert state[f'{owner}head.mlp.1.num_batches_tracked'] == 6


RESNET = dict(
    backbone=dict(
        type='mmpretrain.ResNet',
        depth=18,
        stem_channels=8,
        base_channels=8,
        zero_init_residual=False),
    neck=dict(type='mmpretrain.GlobalAveragePooling'),
    head__use_bn=True)


def synchronised_by_config(model):
    return convert_sync_batchnorm(model, 'torch')


def synchronised_by_fsdp(model):
    strategy = FSDPStrategy.__new__(FSDPStrategy)
    strategy.sync_bn = 'torch'
    return strategy.convert_model(model)


@pytest.mark.parametrize('synchronised',
                         [synchronised_by_config, synchronised_by_fsdp])
def test_all_batch_norms_of_both_networks_are_synchronised(synchronised):
    model = MODELS.build(model_cfg(**RESNET))
    before = [
        name for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
    ]
    model = synchronised(model)
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, SyncBatchNorm)
    }
    assert [*norms] == before
    for part in ('backbone.', 'head.', 'teacher.backbone.', 'teacher.head.'):
        assert any(name.startswith(part) for name in norms), part
    model.train()
    assert all(module.training for module in norms.values())


def test_fsdp_refuses_what_it_would_do_wrong():
    with pytest.raises(ValueError, match="sharding_strategy='NO_SHARD'"):
        FSDPStrategy(model_wrapper=dict(sharding_strategy='NO_SHARD'))
    model = MODELS.build(model_cfg(images_per_chunk=4))
    with pytest.raises(ValueError, match='images_per_chunk=4 needs the whole'):
        FSDPStrategy()._wrap_model(model)
    model = MODELS.build(model_cfg(**V2, tokens_per_chunk=8))
    with pytest.raises(ValueError, match='tokens_per_chunk=8 needs the whole'):
        FSDPStrategy()._wrap_model(model)


def test_the_strategy_is_added_to_a_config(tmp_path):
    root = Path('configs').absolute()
    (tmp_path / 'config.py').write_text(
        f"_base_ = ['{root}/dino_vit-b16.py', '{root}/_base_/fsdp.py']")
    cfg = Config.fromfile(tmp_path / 'config.py')
    assert cfg.runner_type == 'FlexibleRunner'
    assert cfg.optim_wrapper.clip_grad.max_norm == .3
    kind = STRATEGY_REGISTRY.get(cfg.strategy.type)
    assert kind.__module__ == 'mmdino.engine.fsdp'


def test_fsdp_with_the_student_of_the_last_epoch(one_process, tmp_path):
    losses, end = one_process(copying('after_epoch'))
    cfg = job_cfg(tmp_path / 'two', batch_size=2)
    cfg.default_hooks.teacher = copying('after_epoch')
    cfg.merge_from_dict(FSDP)
    train_on_ranks(write(cfg, tmp_path / 'two'))
    torch.testing.assert_close(
        losses_of(tmp_path / 'two/run'), losses, rtol=0, atol=1e-6)
    assert_close(checkpoint(tmp_path / 'two/run'), end)


@pytest.mark.parametrize('what,told', [('gradient', 'a gradient is not fin'),
                                       ('loss', 'the loss is')])
def test_a_step_of_fsdp_is_dumped_whole(what, told, tmp_path):
    cfg = job_cfg(tmp_path, batch_size=2)
    cfg.custom_hooks = [dict(type='Poison', iteration=6, what=what)]
    cfg.merge_from_dict(FSDP)
    with pytest.raises(ProcessRaisedException, match=f'Iteration 6: {told}'):
        train_on_ranks(write(cfg, tmp_path))
    for rank in range(2):
        step = replay(str(tmp_path / f'run/nonfinite_iter6_rank{rank}.pth'))
        if what == 'gradient':
            assert step.loss == pytest.approx(step.recorded_loss, abs=1e-12)
        else:
            assert not math.isfinite(step.recorded_loss)
            assert math.isfinite(step.loss)  # without the poison


def test_slurm_calls_srun_with_a_task_for_each_gpu(tmp_path):
    stub = tmp_path / 'srun'
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    out = run_job(
        'bash',
        'tools/slurm_train.sh',
        'gpu',
        'a job',
        'configs/dino_vit-s8.py',
        '--resume',
        PATH=f'{tmp_path}:{os.environ["PATH"]}',
        SRUN_ARGS='--time=24:00:00 --signal=USR1@300',
        GPUS='16')
    args = out.splitlines()
    assert {
        '--job-name=a job', '--gres=gpu:8', '--ntasks=16',
        '--ntasks-per-node=8', '--kill-on-bad-exit=1', '--time=24:00:00',
        '--signal=USR1@300'
    } < set(args)
    assert args[-4:] == [
        'configs/dino_vit-s8.py', '--launcher', 'slurm', '--resume'
    ]


@pytest.mark.parametrize('script', ['dist_train', 'dist_test', 'slurm_train'])
def test_usage(script):
    out = run_job('bash', f'tools/{script}.sh', status=1)
    assert re.search(f'bash tools/{script}.sh .*CONFIG', out)
