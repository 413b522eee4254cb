"""Training jobs of several processes, as a user starts them."""
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

import tests.ranks  # noqa: F401  (what forked processes import first)
from mmdino.engine.configs import read_config
from mmdino.engine.launch import build_runner, leave_process_group
from mmdino.experiments import jobs
from tests.tiny import constant, runner_cfg

ROOT = Path(__file__).parents[1]
RUN_TOOL = jobs._run
ENV = dict(
    os.environ,
    PYTHON=sys.executable,
    PYTHONPATH=os.pathsep.join([str(ROOT),
                                os.environ.get('PYTHONPATH', '')]),
    OMP_NUM_THREADS='1')
FSDP = dict(
    runner_type='FlexibleRunner',
    strategy=dict(type='mmdino.FSDPStrategy', sync_bn='torch'))


@HOOKS.register_module(force=True)
class FailOnce(Hook):
    """On a rank after an iteration, counted from 1, once in a folder.

    Args:
        how (str): What happens, see :func:`fail`.
    """
    priority = 'VERY_HIGH'

    def __init__(self, folder, rank, iteration, how):
        self.marker = Path(folder, 'failed')
        self.rank, self.iteration, self.how = rank, iteration, how

    def after_train_iter(self, runner, *args, **kwargs):
        if (runner.rank, runner.iter + 1) == (self.rank, self.iteration):
            if not self.marker.exists():
                self.marker.touch()
                fail(self.how)


@HOOKS.register_module(force=True)
class Poison(Hook):
    """Make the gradient or loss of an iteration, from 1, infinite."""

    def __init__(self, iteration, what='gradient'):
        self.iteration, self.what = iteration, what

    def before_train(self, runner):

        def spoil(module, args, output):
            if runner.iter + 1 != self.iteration or not output.requires_grad:
                return None
            if self.what == 'loss':
                return output / 0
            output.register_hook(lambda grad: grad / 0)

        runner.model.module.head.last_layer.register_forward_hook(spoil)


def fail(how):
    """Raise, be killed, have a signal sent, or hang."""
    if how == 'raise':
        raise RuntimeError('rank 1 is out of luck')
    if how == 'stop':
        return os.kill(os.getpid(), signal.SIGTERM)
    if how == 'stop torchrun':
        return os.kill(os.getppid(), signal.SIGTERM)
    if how == 'kill':
        os.kill(os.getpid(), 9)
    time.sleep(1000)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def start(*command, **env) -> subprocess.Popen:
    env = {'PORT': free_port(), **env}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(ENV, **env),
        text=True,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)


def end(process: subprocess.Popen, timeout=300) -> str:
    """Wait for a job; return all that it printed."""
    try:
        return process.communicate(timeout=timeout)[0]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def run(*command, **env) -> subprocess.CompletedProcess:
    """Any command, its output and its errors apart."""
    return subprocess.run(
        command,
        cwd=ROOT,
        env=dict(ENV, PORT=free_port(), **env),
        text=True,
        capture_output=True,
        timeout=300)


def run_job(*command, status=0, timeout=300, **env) -> str:
    """A command that ends with ``status``; all that it printed."""
    process = start(*command, **env)
    out = end(process, timeout)
    assert process.returncode == status, out[-3000:]
    return out


def train_on_two(config: Path, *options, **env) -> str:
    return run_job('bash', 'tools/dist_train.sh', str(config), '2',
                   '--work-dir', str(config.parent / 'run'), *options, **env)


def train_on_ranks(config: Path, ranks: int = 2) -> None:
    """As ``train_on_two``, without a launcher: processes that are forked with
    what they import, which takes most of the time of a short job.

    Raises:
        ProcessRaisedException: With the error of the first that failed.
    """
    torch.multiprocessing.start_processes(
        _train_rank, (ranks, config, free_port()),
        nprocs=ranks,
        start_method='forkserver')


def _train_rank(rank: int, ranks: int, config: Path, port: str) -> None:
    os.environ.update(
        RANK=str(rank),
        WORLD_SIZE=str(ranks),
        LOCAL_RANK=str(rank),
        MASTER_ADDR='127.0.0.1',
        MASTER_PORT=port)
    os.chdir(ROOT)
    cfg = read_config(str(config))
    cfg.launcher, cfg.work_dir = 'pytorch', str(config.parent / 'run')
    build_runner(cfg).train()
    leave_process_group()


@contextmanager
def forked_tools() -> Iterator[None]:
    """Suites and tables run their tools in processes that are forked with
    what they import; jobs of several processes as always."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, '_run', _run_forked)
        yield


def _run_forked(command: list[str], log: Path) -> int:
    if command[1] == '-m':
        return RUN_TOOL(command, log)
    process = multiprocessing.get_context('forkserver').Process(
        target=_run_in_fork,
        args=(command[1:], log, dict(os.environ), sys.path, os.getcwd()))
    process.start()
    process.join()
    screen = jobs.Screen()
    for line in log.read_text().splitlines(keepends=True):
        if screen.shows(line):
            print(line, end='', flush=True)
    return process.exitcode


def _run_in_fork(argv: list[str], log: Path, env: dict, path: list[str],
                 folder: str) -> None:
    with log.open('w') as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update(env)
    os.chdir(folder)
    sys.argv, sys.path = argv, path
    runpy.run_path(argv[0], run_name='__main__')


def job_cfg(folder: Path, batch_size: int, length=16, **model_changes):
    """12 steps with whole batches of 4 in float64, the model's own hooks."""
    folder.mkdir(exist_ok=True)
    cfg = constant(
        runner_cfg(
            folder / 'run',
            epochs=3,
            batch_size=batch_size,
            length=length,
            **model_changes))
    cfg.log_processor = dict(type='LogProcessor', window_size=1)
    cfg.custom_imports = dict(imports=['tests.float64', 'tests.launching'])
    return cfg


def write(cfg, folder: Path) -> Path:
    cfg.pop('work_dir')
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


def losses_of(work_dir: Path):
    """Of all iterations, by those that the last run has written."""
    files = sorted(work_dir.glob('*/vis_data/2*.json'))
    files = files or sorted(work_dir.glob('*/vis_data/scalars.json'))
    lines = files[-1].read_text().splitlines()
    return [line['loss'] for line in map(json.loads, lines) if 'loss' in line]


def checkpoint(work_dir: Path, name='epoch_3.pth'):
    return torch.load(work_dir / name, weights_only=False)


def assert_close(ours, theirs, atol=1e-6):
    """Weights of both networks, centre and moments."""
    for name, value in theirs['state_dict'].items():
        torch.testing.assert_close(
            ours['state_dict'][name], value, rtol=0, atol=atol, msg=name)
    assert ours['state_dict'].keys() == theirs['state_dict'].keys()
    ours, theirs = (x['optimizer']['state'] for x in (ours, theirs))
    assert ours.keys() == theirs.keys()
    for number, moments in theirs.items():
        for name, value in moments.items():
            torch.testing.assert_close(
                ours[number][name], value, rtol=0, atol=atol)
