"""Two processes through tools/dist_train.sh equal one with twice the batch."""
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.tiny import constant, runner_cfg

ROOT = Path(__file__).parents[1]
ENV = dict(
    os.environ,
    PYTHON=sys.executable,
    PYTHONPATH=str(ROOT),
    OMP_NUM_THREADS='1')


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def run(*command, **env) -> subprocess.CompletedProcess:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=dict(ENV, PORT=free_port(), **env),
        text=True,
        capture_output=True,
        timeout=300)


def write_config(folder: Path, batch_size: int, **model_changes) -> Path:
    folder.mkdir(exist_ok=True)
    cfg = constant(
        runner_cfg(folder, batch_size=batch_size, length=16, **model_changes))
    cfg.custom_imports = dict(imports=['tests.float64'])
    cfg.default_hooks.checkpoint.interval = 2
    cfg.pop('work_dir')
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


def outcome(work_dir: Path):
    """Losses of all iterations and the final state."""
    lines = next(work_dir.glob('*/vis_data/scalars.json')).read_text()
    losses = [json.loads(line)['loss'] for line in lines.splitlines()]
    return losses, torch.load(
        work_dir / 'epoch_2.pth', weights_only=False)['state_dict']


def test_two_processes_equal_one_with_the_doubled_batch(tmp_path):
    one = write_config(tmp_path / 'one', batch_size=4)
    two = write_config(tmp_path / 'two', batch_size=2)
    single = run(sys.executable, 'tools/train.py', str(one), '--work-dir',
                 str(tmp_path / 'one/run'), '--cfg-options',
                 'default_hooks.logger.interval=1')
    assert single.returncode == 0, single.stderr[-2000:]
    both = run('bash', 'tools/dist_train.sh', str(two), '2', '--work-dir',
               str(tmp_path / 'two/run'))
    assert both.returncode == 0, both.stderr[-2000:]
    assert 'Distributed training: True' in both.stderr + both.stdout

    losses, state = outcome(tmp_path / 'one/run')
    losses2, state2 = outcome(tmp_path / 'two/run')
    assert len(losses) == 8
    torch.testing.assert_close(losses2, losses, rtol=0, atol=1e-6)
    assert state.keys() == state2.keys()
    for name, value in state.items():
        torch.testing.assert_close(
            state2[name], value, rtol=0, atol=1e-6, msg=name)
    assert state['centering.center'].any()


def test_batch_norm_on_two_processes_without_gpus(tmp_path):
    """Torch cannot synchronise it there; the statistics are averaged."""
    config = write_config(tmp_path / 'bn', batch_size=4, head__use_bn=True)
    out = run('bash', 'tools/dist_train.sh', str(config), '2', '--work-dir',
              str(tmp_path / 'run'))
    assert out.returncode == 0, out.stderr[-2000:]
    _, state = outcome(tmp_path / 'run')
    for owner in ('', 'teacher.'):
        assert state[f'{owner}head.mlp.1.running_mean'].any()
        assert state[f'{owner}head.mlp.1.num_batches_tracked'] == 4


def test_slurm_calls_srun_with_a_task_for_each_gpu(tmp_path):
    stub = tmp_path / 'srun'
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    path = f'{tmp_path}:{os.environ["PATH"]}'
    out = run(
        'bash',
        'tools/slurm_train.sh',
        'gpu',
        'a job',
        'configs/dino_vit-s8.py',
        '--resume',
        PATH=path,
        GPUS='16')
    args = out.stdout.splitlines()
    assert {
        '--job-name=a job', '--gres=gpu:8', '--ntasks=16',
        '--ntasks-per-node=8', '--kill-on-bad-exit=1'
    } < set(args)
    assert args[-4:] == [
        'configs/dino_vit-s8.py', '--launcher', 'slurm', '--resume'
    ]


@pytest.mark.parametrize('script', ['dist_train', 'dist_test', 'slurm_train'])
def test_usage(script):
    out = run('bash', f'tools/{script}.sh')
    assert out.returncode == 1
    assert re.search(f'bash tools/{script}.sh .*CONFIG', out.stdout)
