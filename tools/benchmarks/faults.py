"""What a training loses when it is stopped, killed or its disk is full.

A small training is disturbed in real processes, continued with --resume, and
its end compared with that of an undisturbed run: weights of both networks,
centre, optimizer and schedules, bit by bit. Signals come from outside, as
their senders send them: to the trainer, to its process group with the data
workers in it, to torchrun, to every process of a job. After the fault no
process may be left. It runs on CPUs.

    python tools/benchmarks/faults.py --out tools/benchmarks/FAULTS.md
"""
import argparse
import multiprocessing
import os
import random
import re
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from PIL import Image

import mmdino.train
from mmdino.datasets import ShapeScenes
from mmdino.registry import DATASETS
from mmdino.utils.tool import Parser, run_tool
from mmdino.weights import load_checkpoint
from mmdino.weights.keys import CheckpointError

ROOT = Path(__file__).parents[2]
EPOCHS, PER_EPOCH = 3, 10
COMPARED = ('state_dict', 'optimizer', 'param_schedulers')
PROCESSES = multiprocessing.get_context('forkserver')
PRELOADED = [
    f'mmdino.{name}'
    for name in ('models', 'datasets', 'datasets.transforms', 'engine.hooks',
                 'engine.longrun', 'engine.optim', 'evaluation')
]


class Row(NamedTuple):
    """One row of the table."""
    fault: str
    happened: str
    lost: str


@HOOKS.register_module(force=True)
class FaultHook(Hook):
    """Cause a fault after an iteration on a rank, once in a work dir."""
    priority = 'VERY_HIGH'

    def __init__(self, fault: str, iteration: int = 14, rank: int = 0) -> None:
        self.do_harm = FAULTS[fault]
        self.when = iteration, rank

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        """Cause the fault, unless an earlier run in the work dir has."""
        marker = Path(runner.work_dir, 'harmed')
        if (runner.iter + 1, runner.rank) == self.when and not marker.exists():
            marker.touch()
            self.do_harm(runner)


def wait_for_signal(folder: Path) -> None:
    """Create a file that announces the moment, and wait for the signal."""
    moment = Path(folder, 'moment')
    if not moment.exists():
        moment.touch()
        wait_until(Path(folder, 'sent').exists)


def wait_until(is_so: Callable[[], bool], seconds: float = 120.) -> bool:
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(.02)
    return is_so()


@HOOKS.register_module(force=True)
class MomentHook(Hook):
    """Wait for a signal at a moment of the second epoch, on one rank."""
    priority = 'VERY_HIGH'

    def __init__(self, moment: str, folder: str, rank: int) -> None:
        self.moment, self.folder, self.rank = moment, folder, rank

    def _is(self, runner, moment: str) -> None:
        if (self.moment, self.rank) == (moment, runner.rank) and (
                runner.iter >= PER_EPOCH or moment == 'at the start'):
            wait_for_signal(self.folder)

    def before_run(self, runner) -> None:
        self._is(runner, 'at the start')

    def after_train_iter(self, runner, *args, **kwargs) -> None:
        self._is(runner, 'in a step')

    def after_gallery_iter(self, runner) -> None:
        self._is(runner, 'in the gallery')

    def after_val_iter(self, runner, *args, **kwargs) -> None:
        self._is(runner, 'in a validation')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        self._is(runner, 'in a save')


@DATASETS.register_module(force=True)
class WaitingScenes(ShapeScenes):
    """Wait for a signal in a data worker, when picture 7 is drawn again."""

    def __init__(self, folder: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.folder = folder

    def __getitem__(self, index: int) -> dict:
        first = Path(self.folder, 'first')
        if index == 7 and not first.exists():
            first.touch()
        elif index == 7:
            wait_for_signal(self.folder)
        return super().__getitem__(index)


def dies_in_next_save(runner) -> None:
    """Imitate a power failure: write half of the file, then die."""

    def die(handle: int) -> None:
        os.truncate(handle, os.fstat(handle).st_size // 2)
        os._exit(9)

    os.fsync = die


def fills_disk(runner) -> None:
    """Imitate a full disk: refuse files larger than half a checkpoint."""
    half = Path(runner.work_dir, 'epoch_1.pth').stat().st_size // 2
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (half, hard))


def kills_worker(runner) -> None:
    multiprocessing.active_children()[0].kill()


def spoils_weights(runner) -> None:
    with torch.no_grad():
        next(runner.model.parameters()).fill_(float('nan'))


def is_killed(runner) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def raises(runner) -> None:
    raise RuntimeError('out of luck')


FAULTS: dict[str, Callable] = {
    'SIGKILL (out of memory)': is_killed,
    'an exception': raises,
    'power failure in a save': dies_in_next_save,
    'full disk in a save': fills_disk,
    'a data worker is killed': kills_worker,
    'weights become NaN': spoils_weights,
}


class Sent(NamedTuple):
    """Signals that a sender sends.

    Attributes:
        numbers: The signals, in their order.
        to: 'trainer', 'group' of the trainer, 'rank 1', 'torchrun' or
            'every process'.
        moment: A moment of :class:`MomentHook`, or 'while data are loaded'.
        who: Programs that send signals in this way.
        processes: Number of training processes.
        pause: Seconds between the signals.
    """
    numbers: tuple[signal.Signals, ...]
    to: str
    moment: str
    who: str
    processes: int = 1
    pause: float = 0.


TERM, INT, USR1 = signal.SIGTERM, signal.SIGINT, signal.SIGUSR1
SENT = [
    Sent((TERM, ), 'trainer', 'in a step', 'kill'),
    Sent((TERM, ), 'group', 'at the start', 'slurm, docker stop'),
    Sent((TERM, ), 'group', 'in a step', 'slurm, docker stop'),
    Sent((TERM, ), 'group', 'while data are loaded', 'slurm, docker stop'),
    Sent((TERM, ), 'group', 'in a validation', 'slurm, docker stop'),
    Sent((TERM, ), 'group', 'in the gallery', 'slurm, docker stop'),
    Sent((TERM, ), 'group', 'in a save', 'slurm, docker stop'),
    Sent((INT, ), 'group', 'in a step', 'Ctrl-C'),
    Sent((INT, ), 'group', 'in a validation', 'Ctrl-C'),
    Sent((USR1, ), 'group', 'in a step', "slurm's --signal"),
    Sent((USR1, ), 'group', 'in the gallery', "slurm's --signal"),
    Sent((TERM, TERM), 'group', 'in a step', 'slurm, twice'),
    Sent((USR1, TERM), 'group', 'in a save', 'slurm, early and at the limit'),
    Sent((INT, INT), 'group', 'in a step', 'Ctrl-C twice, 3 s apart', pause=3),
    Sent((TERM, ), 'torchrun', 'in a step', 'kill', 2),
    Sent((TERM, ), 'torchrun', 'in a validation', 'kill', 2),
    Sent((TERM, TERM), 'torchrun', 'in a save', 'kill, twice', 2),
    Sent((INT, ), 'torchrun', 'in a step', 'Ctrl-C', 2),
    Sent((TERM, ), 'rank 1', 'in a step', 'kill', 2),
    Sent((TERM, ), 'every process', 'in a step', 'scancel, preemption', 2),
    Sent((TERM, ), 'every process', 'while data are loaded',
         'scancel, preemption', 2),
    Sent((USR1, ), 'every process', 'in the gallery', "slurm's --signal", 2),
]


def config(folder: Path, fault: str = '', **where: int) -> Path:
    """Write the config of a tiny ViT on ShapeScenes, with stochastic depth."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/schedules/adamw_100e.py')
    cfg.merge_from_dict(
        Config.fromfile(ROOT / 'configs/_base_/hooks/dino.py').to_dict())
    views = dict(
        global_1=dict(
            num_views=2,
            crop=dict(type='RandomResizedCrop', size=32, scale=(.4, 1.)),
            pipeline=[dict(type='ColorJitter'),
                      dict(type='Solarize')]),
        local=dict(
            num_views=2,
            crop=dict(type='RandomResizedCrop', size=16, scale=(.1, .4)),
            pipeline=[dict(type='HorizontalFlip')]))
    cfg.model = dict(
        type='DINO',
        data_preprocessor=dict(
            type='MultiViewDataPreprocessor', mean=[127.5] * 3, std=[64.] * 3),
        backbone=dict(
            type='VisionTransformer',
            arch=dict(
                embed_dims=48,
                num_layers=3,
                num_heads=3,
                feedforward_channels=192),
            img_size=32,
            patch_size=8,
            drop_path_rate=.3),
        head=dict(
            type='DINOHead',
            out_dim=256,
            hidden_channels=64,
            bottleneck_channels=32),
        centering=dict(type='MeanCentering'),
        loss=dict(type='DINOLoss'))
    cfg.train_cfg.update(max_epochs=EPOCHS)
    cfg.train_cfg.pop('val_interval')
    cfg.param_scheduler.warmup_epochs = 1
    cfg.train_dataloader = dict(
        batch_size=4,
        num_workers=2,
        persistent_workers=True,
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='ShapeScenes',
            num_images=4 * PER_EPOCH,
            img_size=32,
            pipeline=dict(
                type='MultiCrop',
                views=views,
                after=[dict(type='mmpretrain.PackInputs')])))
    cfg.env_cfg.dist_cfg.timeout = 60
    if fault:
        cfg.custom_imports = dict(imports=['faults'])
        cfg.custom_hooks = [dict(type='FaultHook', fault=fault, **where)]
    folder.mkdir(parents=True, exist_ok=True)
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


def config_for(sent: Sent, folder: Path) -> Path:
    """Write the config of a run that validates and waits for a signal."""
    path = config(folder)
    cfg = Config.fromfile(path)
    pictures = dict(
        batch_size=4,
        num_workers=1,
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
        dataset=dict(
            type='ShapeScenes',
            num_images=16,
            img_size=32,
            pipeline=[dict(type='mmpretrain.PackInputs')]))
    cfg.val_dataloader = pictures
    cfg.val_cfg = dict(type='GalleryValLoop', gallery_dataloader=pictures)
    cfg.val_evaluator = dict(type='KNNAccuracy', k=(5, ))
    cfg.custom_imports = dict(imports=['faults'])
    if sent.moment == 'while data are loaded':
        cfg.train_dataloader.dataset.update(
            type='WaitingScenes', folder=str(folder))
    rank = int(sent.to == 'rank 1')
    cfg.custom_hooks = [
        dict(
            type='MomentHook',
            moment=sent.moment,
            folder=str(folder),
            rank=rank)
    ]
    cfg.dump(path)
    return path


def command_line(path: Path, output: int) -> None:
    """Run ``tools/train.py CONFIG --resume`` in this process.

    Args:
        path: The config.
        output: File descriptor for the output.
    """
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    work_dir = str(path.parent / 'run')
    sys.argv = ['train.py', str(path), '--resume', '--work-dir', work_dir]
    mmdino.train.main()


def start(path: Path) -> PROCESSES.Process:
    """Train in a process of its own; its output goes to log.txt."""
    process = PROCESSES.Process(target=_start, args=(path, ))
    process.start()
    return process


def _start(path: Path) -> None:
    # As a shell and slurm do. Data workers are in the same group.
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(path.parent / 'log.txt', 'a') as log:
        command_line(path, log.fileno())


def finish(path: Path) -> int:
    """Train to the end or the fault; return the exit status."""
    process = start(path)
    process.join()
    return process.exitcode


def end_of(path: Path) -> dict:
    """Return what the last checkpoint of a finished run holds."""
    state = load_checkpoint(str(path.parent / f'run/epoch_{EPOCHS}.pth'))
    return {key: state[key] for key in COMPARED}


def same(ours: object, theirs: object) -> bool:
    """Return whether two nested values are equal bit by bit."""
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(
            same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, torch.Tensor):
        return torch.equal(ours, theirs)
    return ours == theirs


def lost(path: Path, expected: dict) -> str:
    """Describe what is lost at the end of a run."""
    if not (path.parent / f'run/epoch_{EPOCHS}.pth').exists():
        return 'the run'
    return 'nothing' if same(end_of(path), expected) else 'the result differs'


def resumed_at(path: Path) -> str:
    """Describe from which iterations the runs of a work dir continued."""
    log = (path.parent / 'log.txt').read_text()
    at = re.findall(r'resumed epoch: \d+, iter: (\d+)', log)
    return f'went on from iteration {", ".join(at)}' if at else 'began anew'


def try_fault(fault: str, folder: Path, expected: dict) -> Row:
    path = config(folder, fault)
    status = finish(path)
    assert status != 0, f'{fault}: nothing failed, see {folder}/log.txt'
    finish(path)
    return Row(f'{fault}, at iteration 14',
               f'exit status {status}; {resumed_at(path)}',
               lost(path, expected))


def family(pid: int) -> dict[int, int]:
    """Return a process and its descendants with their parents, on Linux."""
    parents = {}
    for stat in Path('/proc').glob('[0-9]*/stat'):
        with suppress(OSError):
            fields = stat.read_text().rpartition(')')[2].split()
            if fields[0] != 'Z':
                parents[int(stat.parent.name)] = int(fields[1])
    found = {pid: parents[pid]} if pid in parents else {}
    size = 0
    while size < len(found):
        size = len(found)
        found.update({k: v for k, v in parents.items() if v in found})
    return found


def is_running(pid: int) -> bool:
    return pid in family(pid)


def targets(sent: Sent, root: int) -> list[int]:
    """Return the ids of the processes that get the signals."""
    if sent.to in ('trainer', 'group', 'torchrun'):
        return [root]
    if sent.to == 'every process':
        return [*family(root)]
    ranks = sorted(p for p, parent in family(root).items() if parent == root)
    return [ranks[int(sent.to[-1])]]


def send(sent: Sent, root: int, path: Path) -> set[int]:
    """Signal a run at the moment; return the ids of all its processes."""
    assert wait_until((path.parent / 'moment').exists), path
    processes, pids = set(family(root)), targets(sent, root)
    for i, number in enumerate(sent.numbers):
        time.sleep(sent.pause if i else 0)
        for pid in pids:
            with suppress(ProcessLookupError):
                (os.killpg if sent.to == 'group' else os.kill)(pid, number)
    (path.parent / 'sent').touch()
    return processes


def try_signal(sent: Sent, folder: Path, expected: dict) -> Row:
    path = config_for(sent, folder)
    if sent.processes == 1:
        process = start(path)
        processes = send(sent, process.pid, path)
        process.join()
        status = process.exitcode
    else:
        process = start_together(path)
        processes = send(sent, process.pid, path)
        status = process.wait()
    are_gone = wait_until(lambda: not any(map(is_running, processes)), 10)
    log = (path.parent / 'log.txt').read_text()
    assert status != 0, f'{sent}: it did not stop, see\n{log[-2000:]}'
    last = log.strip().splitlines()[-1]
    if sent.processes == 1:
        finish(path)
    else:
        start_together(path).wait()
    names = ' and '.join(number.name for number in sent.numbers)
    end = f'; last line "{last}"' if sent.processes > 1 else ''
    return Row(f'{names} to {sent.to}, {sent.moment} ({sent.who})',
               f'exit status {status}; {resumed_at(path)}{end}',
               lost(path, expected) if are_gone else 'processes are left')


def try_damage(damage: str, folder: Path, expected: dict) -> Row:
    """Damage the newest checkpoint while nothing runs."""
    path = config(folder, 'SIGKILL (out of memory)', iteration=25)
    finish(path)
    newest = folder / 'run/epoch_2.pth'
    data = bytearray(newest.read_bytes())
    if damage == 'cut in half':
        newest.write_bytes(data[:len(data) // 2])
    elif damage == 'one bit flipped':
        data[len(data) // 2] ^= 1
        newest.write_bytes(data)
    else:
        newest.unlink()
    finish(path)
    return Row(f'newest checkpoint {damage}', resumed_at(path),
               lost(path, expected))


def try_kills(times: int, folder: Path, expected: dict) -> Row:
    """Send signals at random moments, also at the start and while saving.

    Every second one is a SIGKILL of the trainer alone, the others go to the
    group. A run that ends in between is compared with an undisturbed one, and
    another one begins.
    """
    rng, killed, losses = random.Random(0), 0, []
    while killed < times:
        # Timed again for each run, since the load of the machine changes.
        started = time.monotonic()
        finish(config(folder / f'whole_{len(losses)}'))
        duration = time.monotonic() - started
        path = config(folder / str(len(losses)))
        while killed < times and _is_stopped(
                path,
                rng.uniform(.2, .9) * duration,
                rng.choice([TERM, INT, USR1]) if killed %
                2 else signal.SIGKILL):
            killed += 1
        finish(path)
        losses.append(lost(path, expected))
    differing = [loss for loss in losses if loss != 'nothing']
    return Row(f'{killed} signals at random moments, half of them SIGKILL',
               f'{len(losses)} runs came to their end',
               differing[0] if differing else 'nothing')


def _is_stopped(path: Path, seconds: float, number: signal.Signals) -> bool:
    """Train for some seconds, then signal; False if the run ended before."""
    process = start(path)
    process.join(seconds)
    processes = family(process.pid)
    if number == signal.SIGKILL:
        process.kill()
    else:
        with suppress(ProcessLookupError):  # it has no group of its own yet
            os.killpg(process.pid, number)
    process.join()
    assert wait_until(lambda: not any(map(is_running, processes)), 10), path
    return process.exitcode != 0


def start_together(path: Path, **env: str) -> subprocess.Popen:
    """Train in two processes by torchrun; their output goes to log.txt."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    places = [ROOT, Path(__file__).parent, os.environ.get('PYTHONPATH', '')]
    env.update(
        PYTHON=sys.executable,
        PYTHONPATH=os.pathsep.join(map(str, places)),
        OMP_NUM_THREADS='1',
        PORT=port)
    command = [
        'bash', ROOT / 'tools/dist_train.sh', path, '2', '--resume',
        '--work-dir', path.parent / 'run'
    ]
    with open(path.parent / 'log.txt', 'a') as log:
        return subprocess.Popen(
            command,
            env=dict(os.environ, **env),
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT)


def try_restart(fault: str, folder: Path, expected: dict) -> Row:
    """Let one of two processes fail; torchrun starts both again."""
    path = config(folder, fault, iteration=14, rank=1)
    status = start_together(path, MAX_RESTARTS='1').wait()
    return Row(f'{fault} of one of two processes, MAX_RESTARTS=1',
               f'exit status {status}; both {resumed_at(path)}',
               lost(path, expected))


def try_broken_images(folder: Path) -> Row:
    """Train on a data set of which 5% of the files are truncated."""
    images = folder / 'images'
    images.mkdir(parents=True)
    for i in range(40):
        file = images / f'{i}.png'
        Image.effect_noise((48, 48), 80).convert('RGB').save(file)
        if i in (7, 23):
            os.truncate(file, file.stat().st_size // 2)
    path = config(folder)
    cfg = Config.fromfile(path)
    cfg.train_dataloader.dataset.pipeline.before = [dict(type='LoadImage')]
    cfg.train_dataloader.dataset = dict(
        type='Images',
        data_root=str(images),
        pipeline=cfg.train_dataloader.dataset.pipeline)
    cfg.dump(path)
    status = finish(path)
    told = re.search(r'\d+ of \d+ images \([\d.]+%\) could not be read',
                     (folder / 'log.txt').read_text())
    return Row('2 of 40 image files are broken',
               f'exit status {status}; told "{told and told[0]}"',
               'these images' if status == 0 else 'the run')


class Trap:
    """An object that creates a folder when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (self.path, )


def try_malicious(folder: Path) -> Row:
    folder.mkdir()
    path, trap = str(folder / 'epoch_1.pth'), folder / 'trap'
    torch.save(dict(state_dict={}, meta=Trap(str(trap))), path)
    try:
        load_checkpoint(path)
        happened = 'it was read'
    except CheckpointError:
        happened = 'refused, nothing of it was run'
    return Row('code in a checkpoint', happened,
               'the run' if trap.exists() else 'nothing')


def table(rows: list[Row]) -> str:
    lines = [
        '| fault | what happened | lost |', '|---|---|---|',
        *(f'| {" | ".join(row)} |' for row in rows)
    ]
    return '\n'.join(lines) + '\n'


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('--out', help='Markdown file to write the table to')
    parser.add_argument(
        '--only',
        default='',
        help='try only faults whose names contain this text')
    parser.add_argument(
        '--kills',
        type=int,
        default=20,
        help='number of signals at random moments (default: 20)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    PROCESSES.set_forkserver_preload(['faults', *PRELOADED])
    rows, started = [], time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        alone, two = root / 'alone', root / 'two'
        assert finish(config(alone)) == 0, (alone /
                                            'log.txt').read_text()[-2000:]
        assert start_together(
            config(two)).wait() == 0, (two / 'log.txt').read_text()[-2000:]
        ends = {1: end_of(alone / 'config.py'), 2: end_of(two / 'config.py')}
        tries = [
            *((f'{s.numbers[0].name} to {s.to} {s.moment}',
               lambda folder, s=s: try_signal(s, folder, ends[s.processes]))
              for s in SENT),
            *((f, lambda folder, f=f: try_fault(f, folder, ends[1]))
              for f in FAULTS),
            *((d, lambda folder, d=d: try_damage(d, folder, ends[1]))
              for d in ('cut in half', 'one bit flipped', 'deleted')),
            *((f'{f}, restarted',
               lambda folder, f=f: try_restart(f, folder, ends[2]))
              for f in ('SIGKILL (out of memory)', 'an exception')),
            ('kills', lambda f: try_kills(args.kills, f, ends[1])),
            ('broken images', try_broken_images),
            ('code', try_malicious),
        ]
        tries = [(what, attempt) for what, attempt in tries
                 if args.only in what]
        if not tries:
            raise ValueError(f'No fault has {args.only!r} in its name: leave '
                             '--only out to try all.')
        for i, (what, attempt) in enumerate(tries):
            rows.append(attempt(root / str(i)))
            passed = time.monotonic() - started
            left = passed / (i + 1) * (len(tries) - i - 1)
            print(
                f'[{i + 1}/{len(tries)}] {what}: lost {rows[-1].lost}, '
                f'{passed:.0f} s, about {left:.0f} s left',
                flush=True)
    text = table(rows)
    print(text)
    if args.out:
        Path(args.out).write_text(
            f'# Faults tried, and what was lost\n\n{__doc__}\n{text}')
    if any(row.lost not in ('nothing', 'these images') for row in rows):
        sys.exit('Something was lost.')


if __name__ == '__main__':
    # As a module, so that child processes can import its functions.
    from faults import main as run
    run_tool(run)
