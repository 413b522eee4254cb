"""Trainings of the tiny model through the scripts, in other processes."""
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Dict, List, Tuple

from mmengine.config import Config

from mmdino.checkpoints import load_checkpoint
from tests.tiny import constant, runner_cfg

ROOT = Path(__file__).parents[1]
ENV = dict(
    os.environ,
    PYTHON=sys.executable,
    PYTHONPATH=os.pathsep.join([str(ROOT), *sys.path]),
    OMP_NUM_THREADS='1')
EPOCHS, STEPS = 3, 12


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def start(*command: str, **env: str) -> subprocess.Popen:
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(dict(ENV, PORT=free_port()), **env),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True)


def finish(process: subprocess.Popen, status: int = 0) -> str:
    """Wait; give what was printed."""
    output, _ = process.communicate(timeout=300)
    assert process.returncode == status, output[-4000:]
    return output


def run(*command: str, status: int = 0, **env: str) -> str:
    return finish(start(*command, **env), status)


def write_config(folder: Path,
                 batch_size: int,
                 base: str = '',
                 **model_changes) -> Path:
    """Of 16 images in 3 epochs, in float64 and without schedules."""
    folder.mkdir(exist_ok=True, parents=True)
    cfg = constant(
        runner_cfg(
            folder,
            epochs=EPOCHS,
            batch_size=batch_size,
            length=16,
            **model_changes))
    cfg.custom_imports = dict(imports=['tests.float64'])
    cfg.pop('work_dir')
    if base:
        cfg.merge_from_dict(Config.fromfile(f'configs/_base_/{base}.py'))
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


def alone(config: Path, *options: str) -> List[str]:
    """The command that trains into ``run`` beside the config."""
    return [
        sys.executable, 'tools/train.py',
        str(config), '--work-dir',
        str(config.parent / 'run'), *options
    ]


def together(config: Path, processes: int, *options: str) -> List[str]:
    return [
        'bash', 'tools/dist_train.sh',
        str(config),
        str(processes), '--work-dir',
        str(config.parent / 'run'), *options
    ]


def outcome(work_dir: Path) -> Tuple[List[float], Dict]:
    """Losses of all steps and the last checkpoint."""
    # FlexibleRunner names the file by the time.
    log = next(work_dir.glob('*/vis_data/*.json')).read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    losses = [line['loss'] for line in lines if 'loss' in line]
    parts = len(losses) // STEPS
    return [
        sum(losses[i:i + parts]) / parts
        for i in range(0, len(losses), parts)
    ], load_checkpoint(str(work_dir / f'epoch_{EPOCHS}.pth'))
