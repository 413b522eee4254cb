"""Run all GPU checks at once: numerics, speed and a real training.

Each section runs in a process of its own with a time limit. DIR/SECTION.json
has the results of a section while it runs, DIR/gpu_all.json those of all
finished sections, and DIR/gpu_all.log their output. So the results remain if
a section or the whole run is stopped.

    python tools/benchmarks/gpu_all.py --out DIR --minutes 9 \\
        --cifar10 cifar10.zip --reference CHECKOUT_OF_THE_AUTHORS
    python tools/benchmarks/gpu_all.py --out DIR --only step authors
    python tools/benchmarks/gpu_all.py --out DIR --tiny    # rehearsal on a CPU
"""
import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from mmdino.pictures.curves import read_scalars
from mmdino.utils.tool import Parser, run_tool
from mmdino.weights.io import replaced

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STEPS = 20
CONFIGS = ('dino_vit-s16', 'dino_vit-s8', 'dino_vit-b16')
PACKAGES = ('torch', 'torchvision', 'timm', 'numpy', 'opencv-python-headless',
            'onedl-mmengine', 'onedl-mmcv', 'onedl-mmpretrain')
CLIP = 'PerParameterClip{}OptimWrapper'
Options = argparse.Namespace
Found = dict[str, Any]


def environment(args: Options) -> Found:
    """Return the versions of packages and the GPU."""
    found = dict(python=platform.python_version(), cpus=os.cpu_count())
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except ImportError:
            found[name] = None
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_properties(0)
        found.update(gpu=gpu.name, gpu_mib=gpu.total_memory >> 20)
    return found


def numerics(args: Options) -> Iterator[Found]:
    """Compare the losses of the same steps in each precision."""
    from train_step import SIZES, Ours, make_crops, make_model
    size, sizes, images = ('tiny', 2 * [32] + 4 * [16],
                           4) if args.tiny else ('full', SIZES, 16)
    rows = dict(float32=('', 'highest'), bfloat16=('BFloat16', 'highest'))
    if args.device == 'cuda':
        rows.update(tf32=('', 'high'), float16=('Amp', 'highest'))
    losses = {}
    for name, (kind, precision) in rows.items():
        torch.set_float32_matmul_precision(precision)
        crops = [c.to(args.device) for c in make_crops(images, sizes)]
        step = Ours(make_model(size).to(args.device), crops, CLIP.format(kind))
        losses[name] = [step() for _ in range(STEPS)]
        print(name, losses[name][-1], flush=True)
        furthest = {
            name: max(abs(a - b) for a, b in zip(values, losses['float32']))
            for name, values in losses.items()
        }
        yield dict(losses=losses, furthest_from_float32=furthest)


def overflow(args: Options) -> Found:
    """Train with an overflowing loss scale, which must only skip steps."""
    if args.device != 'cuda':
        return dict(left_out='the loss scale of fp16 needs a GPU')
    return train(
        args,
        'overflow',
        text="optim_wrapper = dict(type='PerParameterClipAmpOptimWrapper', "
        'loss_scale=dict(init_scale=1e30))')


def compile_backbones(args: Options) -> Found:
    """Train with compiled backbones."""
    return train(
        args, 'compile', text="custom_hooks = [dict(type='CompileHook')]")


def one_rank(args: Options) -> Found:
    """Train with DDP on one process, with nccl on a GPU or gloo on a CPU."""
    return train(args, 'one_rank', launcher=True)


def fsdp(args: Options) -> Found:
    """Train with FSDP on one process."""
    if args.device != 'cuda':
        return dict(left_out='tested with gloo in tests/test_distributed.py')
    return train(args, 'fsdp', launcher=True, bases=('fsdp', ))


def step(args: Options) -> Iterator[Found]:
    """Measure time, memory and use of the peak rate of steps, by network."""
    if args.device != 'cuda':
        return benchmark(['train_step.py', '--quick'])
    return benchmark(['gpu.py', '--rounds', '6', '--configs', *CONFIGS])


def authors(args: Options) -> Iterator[Found]:
    """Compare the step of DINO's authors with ours, on the same crops.

    With 32 images a fast GPU waits for the CPU; with 128 it is busy.
    """
    if args.reference is None:
        yield dict(left_out='give --reference CHECKOUT')
        return
    found = {}
    for images in (32, ) if args.tiny else (32, 128):
        command = [
            'train_step.py', '--reference', args.reference, '--device',
            args.device, '--rounds', '6', '--images', images,
            *(['--quick'] if args.tiny else [])
        ]
        for row in benchmark(command):
            found[f'{images}_images'] = row
            if row.get('exit_status'):
                found['exit_status'] = row['exit_status']
            yield found


def dinov2(args: Options) -> Iterator[Found]:
    """Measure DINOv2's step: images/s and memory with each option."""
    if args.device != 'cuda':
        return iter(
            [dict(left_out='its memory is counted by memory.py on a CPU')])
    return benchmark([
        'gpu.py', '--switches', '--rounds', '6', '--images', '16', '--configs',
        'dinov2_vit-b16'
    ])


def cifar10(args: Options) -> Found:
    """Train on CIFAR-10 for the remaining time, validated by k-NN."""
    if args.tiny:
        return train(args, 'cifar10', validate=True)
    if args.cifar10 is None:
        return dict(left_out='give --cifar10 ZIP')
    return train(
        args,
        'cifar10',
        '--amp=bf16',
        config='quickstart/dino_resnet10_cifar10',
        validate=True,
        options=[
            f'data_root={args.cifar10.absolute()}',
            f'train_dataloader.num_workers={os.cpu_count() - 2}',
            'val_dataloader.num_workers=4',
            'val_cfg.gallery_dataloader.num_workers=8',
            'train_cfg.val_interval=20',
            f'train_cfg.max_epochs={args.epochs}',
        ])


# A section returns its results, or yields all results so far several times.
SECTIONS: dict[str, Callable[[Options], Found | Iterator[Found]]] = dict(
    environment=environment,
    numerics=numerics,
    overflow=overflow,
    compile=compile_backbones,
    one_rank=one_rank,
    fsdp=fsdp,
    step=step,
    authors=authors,
    dinov2=dinov2,
    cifar10=cifar10)
# Time limits in seconds; other sections have the time that is left.
LIMITS = dict(step=150, authors=130, dinov2=90)


def train(args: Options,
          name: str,
          *flags: str,
          config: str = '',
          text: str = '',
          bases: Sequence[str] = (),
          options: Sequence[str] = (),
          launcher: bool = False,
          validate: bool = False) -> Found:
    """Train, by default the quickstart on a few drawn images.

    Args:
        args: Options of this script.
        name: Name of the work dir and of the config.
        *flags: Further options of tools/train.py.
        config: Another config.
        text: Settings that are added to the quickstart's config.
        bases: Names of further files in configs/_base_ for its bases.
        options: Values of ``--cfg-options``, for another config.
        launcher: Whether to start it by torchrun.
        validate: Whether to validate.

    Returns:
        The exit status, the first and last logged figures, and those of k-NN.
    """
    folder = args.out / name
    if not config:
        config = args.out / f'{name}.py'
        bases = [f'mmdino::_base_/{base}.py' for base in bases]
        bases.insert(0, 'mmdino::quickstart/dino_vit-tiny_shapescenes.py')
        config.write_text(f'_base_ = {bases}\n{text}\n')
        options = [
            'train_cfg.max_epochs=2', 'train_cfg.val_interval=1',
            'train_dataloader.dataset.num_images=256',
            'default_hooks.logger.interval=1'
        ]
    command = [ROOT / 'tools/train.py', config, '--work-dir', folder, *flags]
    command += [] if validate else ['--no-validate']
    if launcher:
        command = [
            '-m', 'torch.distributed.run', '--standalone',
            '--nproc_per_node=1', *command, '--launcher', 'pytorch'
        ]
    failed = call([*command, '--cfg-options', *options])
    figures = curves(folder)
    return dict(
        exit_status=failed,
        first={
            k: v[0][1]
            for k, v in figures.items()
        },
        last={
            k: v[-1][1]
            for k, v in figures.items()
        },
        knn=knn_curves(folder))


def curves(folder: Path) -> dict[str, list]:
    """Return the logged figures of a training, {} if it logged nothing."""
    try:
        return read_scalars(folder)
    except FileNotFoundError:
        return {}


def knn_curves(folder: Path) -> dict[str, list]:
    """Return the logged figures of k-NN."""
    return {k: v for k, v in curves(folder).items() if k.startswith('knn/')}


def call(command: list[Any]) -> int:
    """Run Python with mmdino on its path; return the exit status."""
    return subprocess.run([sys.executable, *map(str, command)],
                          env=with_mmdino()).returncode


def with_mmdino() -> dict[str, str]:
    """Return the environment, with this checkout first in PYTHONPATH."""
    path = [str(ROOT), os.environ.get('PYTHONPATH', '')]
    return dict(os.environ, PYTHONPATH=os.pathsep.join(path))


def benchmark(command: list[Any]) -> Iterator[Found]:
    """Run a benchmark of this folder, and print its lines as they come.

    Args:
        command: File of the benchmark and its options.

    Yields:
        The content of its JSON lines so far, merged by the names of models;
        at the end that of its last line.
    """
    found: Found = {}
    with subprocess.Popen(
        [sys.executable, HERE / command[0], *map(str, command[1:])],
            env=with_mmdino(),
            text=True,
            stdout=subprocess.PIPE) as process:
        for line in process.stdout:
            print(line, end='', flush=True)
            if line.startswith('{'):
                found = merged(found, json.loads(line))
                yield found
    if process.returncode:
        yield dict(found, exit_status=process.returncode)


def merged(found: Found, told: Found) -> Found:
    """Merge the content of a JSON line into that of earlier ones."""
    if 'benchmark' in told:  # the last one, with everything
        return told
    models = dict(found.get('models', {}))
    for name, row in told.items():
        models[name] = dict(models.get(name, {}), **row)
    return dict(models=models)


def run_section(name: str, args: Options, seconds: float) -> Found:
    """Run a section in a process, which is killed after a time limit."""
    file = args.out / f'{name}.json'
    file.unlink(missing_ok=True)
    command = [sys.executable, __file__, *sys.argv[1:], '--section', name]
    start = time.monotonic()
    told = {}
    with open(args.out / 'gpu_all.log', 'a') as log:
        log.write(f'\n=== {name}\n')
        log.flush()
        with subprocess.Popen(
                command, stdout=log, stderr=log,
                start_new_session=True) as process:
            try:
                status = process.wait(max(seconds, 1))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                status = f'stopped after {seconds:.0f} s'
    if file.exists():
        told = json.loads(file.read_text())
    elif name == 'cifar10':  # it was stopped, but has a log
        told = dict(knn=knn_curves(args.out / name))
    return dict(told, status=status, seconds=time.monotonic() - start)


def write(path: Path, content: Found) -> None:
    with replaced(str(path)) as part:
        Path(part).write_text(json.dumps(content, indent=1) + '\n')


def main(args: Options) -> None:
    args.out.mkdir(parents=True, exist_ok=True)
    if args.section:
        found = SECTIONS[args.section](args)
        for state in [found] if isinstance(found, dict) else found:
            write(args.out / f'{args.section}.json', state)
        return
    end = time.monotonic() + 60 * args.minutes
    file = args.out / 'gpu_all.json'
    found = json.loads(file.read_text()) if file.exists() else {}
    for name in args.only:
        left = end - time.monotonic()
        found[name] = run_section(name, args, min(left, LIMITS.get(name,
                                                                   left)))
        write(file, found)
        status = found[name].get('exit_status') or found[name]['status']
        print(
            f'{name}: exit status {status}, '
            f'{found[name]["seconds"]:.0f} s; {end - time.monotonic():.0f} s '
            'left',
            flush=True)


def parse_args() -> Options:
    parser = Parser(__doc__)
    parser.add_argument(
        '--out', type=Path, required=True, help='folder DIR of the results')
    parser.add_argument(
        '--minutes', type=float, default=9, help='time limit of all sections')
    parser.add_argument(
        '--cifar10',
        type=Path,
        help='zip archive or folder with cifar10/{train,test}/CLASS/')
    parser.add_argument(
        '--epochs',
        type=int,
        default=40,
        help='epochs of CIFAR-10, if the time suffices')
    parser.add_argument(
        '--only',
        nargs='+',
        choices=SECTIONS,
        default=list(SECTIONS),
        help='sections to run; DIR keeps the results of the others')
    parser.add_argument('--reference', help="checkout of the authors' code")
    parser.add_argument(
        '--tiny', action='store_true', help='smallest sizes, for a rehearsal')
    parser.add_argument(
        '--section',
        choices=SECTIONS,
        help='run only this section, in this process, without a time limit')
    args = parser.parse_args()
    args.device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if args.device == 'cpu' and not args.tiny:
        parser.error(f'torch {torch.__version__} sees no GPU: give --tiny for '
                     'a rehearsal on the CPU')
    if find_spec('mmengine') is None:
        parser.error('mmengine, mmcv and mmpretrain are not installed')
    return args


if __name__ == '__main__':
    run_tool(lambda: main(parse_args()))
