"""Time tools/train.py up to its help and up to the first iteration.

For comparison it times `import torch`, the lower bound of the latter. It also
lists the packages that the help imports, with their import times.

    python tools/benchmarks/startup.py
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from side_by_side import parse, parser, report

from mmdino.utils.tool import run_tool

ROOT = Path(__file__).parents[2]
TRAIN = [sys.executable, str(ROOT / 'tools/train.py')]
FLOOR = [sys.executable, '-c', 'import torch']
QUICKSTART = ROOT / 'configs/quickstart/dino_vit-tiny_shapescenes.py'


def run(command: list) -> None:
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)


def first_iteration() -> None:
    """Train with the quickstart's config until the first logged iteration."""
    with tempfile.TemporaryDirectory() as folder:
        command = TRAIN + [
            str(QUICKSTART), '--no-validate', '--work-dir', folder,
            '--cfg-options', 'default_hooks.logger.interval=1',
            'train_dataloader.num_workers=0',
            'train_dataloader.persistent_workers=False'
        ]
        with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True) as process:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if 'Epoch(train)' in line:
                    process.kill()
                    return
    raise RuntimeError('no iteration: ' + ''.join(lines[-20:]))


def import_shares(command: list) -> dict[str, float]:
    """Return the import time of each top-level package in milliseconds."""
    lines = subprocess.run([command[0], '-X', 'importtime', *command[1:]],
                           check=True,
                           capture_output=True,
                           text=True).stderr.splitlines()
    shares = Counter()
    for line in lines:
        if line.startswith('import time:') and 'cumulative' not in line:
            own, _, name = line.removeprefix('import time:').split('|')
            shares[name.strip().split('.')[0]] += int(own) / 1000
    return {name: round(ms) for name, ms in shares.most_common(8)}


def children_cpu() -> float:
    times = os.times()
    return times.children_user + times.children_system


def seconds_of(calls: dict[str, Callable],
               args: argparse.Namespace) -> dict[str, float]:
    clock = children_cpu if args.clock == 'cpu' else time.perf_counter
    seconds = {name: [] for name in calls}
    for done in range(1, args.rounds + 1):
        for name, call in calls.items():
            start = clock()
            call()
            seconds[name].append(clock() - start)
        print(
            f'round {done}/{args.rounds}  ' +
            '  '.join(f'{name} {s[-1]:.3g} s' for name, s in seconds.items()),
            flush=True)
    return {name: statistics.median(s) for name, s in seconds.items()}


def main(args: argparse.Namespace) -> None:
    calls = dict(
        import_torch=lambda: run(FLOOR),
        help=lambda: run([*TRAIN, '--help']),
        first_iteration=first_iteration)
    if args.quick:
        args.rounds = 1
        del calls['first_iteration']
    figures = seconds_of(calls, args)
    report(
        'startup',
        args,
        unit='s',
        **figures,
        clock=args.clock,
        rounds=args.rounds,
        imports_ms=import_shares([*TRAIN, '--help']))


if __name__ == '__main__':
    run_tool(lambda: main(parse(parser(__doc__, rounds=3))))
