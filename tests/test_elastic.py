"""Jobs on two nodes, and jobs that lose a process."""
import runpy
import sys
import time

import pytest
import torch

from mmdino.engine.launch import build_runner
from mmdino.weights import load_checkpoint
from tests.launching import (FSDP, assert_close, checkpoint, end, free_port,
                             job_cfg, losses_of, run_job, start, train_on_two,
                             write)

STRATEGIES = pytest.mark.parametrize('changes', [
    pytest.param(dict(), id='ddp'),
    pytest.param(FSDP, id='fsdp', marks=pytest.mark.slow),
])


@pytest.fixture
def undisturbed(tmp_path, float64):
    """The end of a run in one process that nothing happens to."""
    cfg = job_cfg(tmp_path / 'one', batch_size=4)
    cfg.launcher = 'none'
    build_runner(cfg).train()
    return checkpoint(tmp_path / 'one/run')


def failing(folder, how, changes=None):
    """A job whose rank 1 fails in the second of three epochs."""
    cfg = job_cfg(folder, batch_size=2)
    cfg.custom_hooks = [
        dict(
            type='FailOnce', folder=str(folder), rank=1, iteration=7, how=how)
    ]
    cfg.merge_from_dict(changes or {})
    return cfg


def test_two_nodes_equal_one(undisturbed, tmp_path):
    """Two agents on loopback, with a process each."""
    config = write(job_cfg(tmp_path / 'two', batch_size=2), tmp_path / 'two')
    port = free_port()
    nodes = [
        start(
            'bash',
            'tools/dist_train.sh',
            str(config),
            '1',
            '--work-dir',
            str(tmp_path / 'two/run'),
            NNODES='2',
            NODE_RANK=str(rank),
            PORT=port) for rank in range(2)
    ]
    for node in nodes:
        out = end(node)
        assert node.returncode == 0, out[-3000:]
    assert_close(checkpoint(tmp_path / 'two/run'), undisturbed)


@STRATEGIES
def test_a_killed_process_is_restarted_and_nothing_is_lost(
        changes, undisturbed, tmp_path):
    config = write(
        failing(tmp_path / 'two', 'kill', changes), tmp_path / 'two')
    out = train_on_two(config, '--resume', MAX_RESTARTS='1')
    assert (tmp_path / 'two/failed').exists()
    assert 'resumed epoch: 1, iter: 4' in out
    assert_close(checkpoint(tmp_path / 'two/run'), undisturbed)


def test_a_sharded_job_goes_on_in_one_process(undisturbed, tmp_path, float64):
    """And its checkpoint is a plain one."""
    folder = tmp_path / 'two'
    config = write(failing(folder, 'raise', FSDP), folder)
    run_job(
        'bash',
        'tools/dist_train.sh',
        str(config),
        '2',
        '--work-dir',
        str(folder / 'run'),
        status=1)
    state = load_checkpoint(str(folder / 'run/epoch_1.pth'))
    shapes = {k: v.shape for k, v in state['state_dict'].items()}
    assert shapes == {k: v.shape for k, v in undisturbed['state_dict'].items()}
    assert_teacher_is_exported(folder / 'run/epoch_1.pth', state['state_dict'])
    cfg = job_cfg(folder, batch_size=4)
    cfg.launcher, cfg.resume = 'none', True
    build_runner(cfg).train()
    assert len(losses_of(folder / 'run')) == 8
    assert_close(checkpoint(folder / 'run'), undisturbed)


def assert_teacher_is_exported(path, state):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [
            'export.py',
            str(path), '--format', 'safetensors', '--heads', '3'
        ])
        runpy.run_path('tools/export.py', run_name='__main__')
    held = load_checkpoint(str(path.with_suffix('.safetensors')))
    exported = held['state_dict']
    assert exported
    for name, value in exported.items():
        assert torch.equal(value, state[f'teacher.backbone.{name}']), name


def test_a_job_ends_with_the_error_of_the_process_that_failed(tmp_path):
    config = write(failing(tmp_path, 'raise'), tmp_path)
    out = run_job(
        'bash',
        'tools/dist_train.sh',
        str(config),
        '2',
        '--work-dir',
        str(tmp_path / 'run'),
        status=1)
    summary = out[out.index('Root Cause'):]
    assert 'RuntimeError: rank 1 is out of luck' in summary
    assert 'rank      : 1' in summary


@pytest.mark.slow
def test_the_other_node_ends_too(tmp_path):
    config = write(failing(tmp_path, 'kill'), tmp_path)
    port = free_port()
    nodes = [
        start(
            'bash',
            'tools/dist_train.sh',
            str(config),
            '1',
            '--work-dir',
            str(tmp_path / 'run'),
            NNODES='2',
            NODE_RANK=str(rank),
            PORT=port) for rank in range(2)
    ]
    outs = [end(node, timeout=120) for node in nodes]
    assert all(node.returncode for node in nodes)
    assert 'SIGKILL' in outs[1]


@pytest.mark.slow
def test_a_process_that_hangs_stops_the_job_after_the_timeout(tmp_path):
    cfg = failing(tmp_path, 'hang')
    cfg.env_cfg.dist_cfg.timeout = 5
    started = time.monotonic()
    out = run_job(
        'bash',
        'tools/dist_train.sh',
        str(write(cfg, tmp_path)),
        '2',
        '--work-dir',
        str(tmp_path / 'run'),
        status=1)
    assert time.monotonic() - started < 250  # by default half an hour
    assert 'imed out' in out
    assert torch.load(
        tmp_path / 'run/epoch_1.pth', weights_only=False)['meta']['iter'] == 4
