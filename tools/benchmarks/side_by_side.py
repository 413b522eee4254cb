"""Time several ways to compute the same, in turn, in one process.

Since the sides take turns, other work on the machine affects all of them
alike, and the median over the rounds leaves out disturbed ones. The sides are
'authors', the code of DINO's authors in a checkout (``--reference``),
'straightforward', a simple implementation of the formulas, and 'ours'.
"""
import argparse
import ctypes
import gc
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed

from mmdino.utils.tool import Parser

CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)
STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


def parser(description: str,
           rounds: int = 9,
           clocks: Sequence[str] = tuple(CLOCKS)) -> Parser:
    """Return a parser with the options that all benchmarks share."""
    parser = Parser(description)
    parser.add_argument(
        '--quick',
        action='store_true',
        help='fewer and smaller rounds, under a minute, only to see it run')
    parser.add_argument(
        '--rounds', type=int, default=rounds, help='number of rounds')
    parser.add_argument('--out', help='file to append the JSON line to')
    parser.add_argument(
        '--threads',
        type=int,
        default=1,
        help='number of torch threads; 1 is steadier on a busy machine')
    parser.add_argument(
        '--clock',
        choices=clocks,
        default='wall',
        help='wall time, or CPU time of this process, for one thread on a '
        'busy machine')
    return parser


def add_reference(parser: Parser) -> None:
    """Add the options for the side of DINO's authors."""
    parser.add_argument(
        '--reference',
        help="checkout of the authors' code, which is then compared as well: "
        'https://github.com/facebookresearch/dino, or .../dinov2 for '
        'dinov2_parts.py')
    parser.add_argument(
        '--sides',
        nargs='+',
        choices=['authors', 'straightforward', 'faiss', 'ours'],
        help='sides to run; by default all')


def import_authors(checkout: str, file: str = 'main_dino.py') -> None:
    """Make the modules of the authors' checkout importable by name.

    Their loss sums the centre over processes: a group of one is made for it.
    If there is no GPU, tensors that they send to it stay on the CPU.

    Args:
        checkout: Folder of the checkout.
        file: A file that must be in it.

    Raises:
        FileNotFoundError: If the file is missing.
    """
    if not Path(checkout, file).is_file():
        raise FileNotFoundError(f'{checkout} has no {file}: give a checkout '
                                "of the authors' code.")
    if checkout not in sys.path:
        sys.path.insert(0, checkout)
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(
            'nccl' if torch.cuda.is_available() else 'gloo',
            store=torch.distributed.HashStore(),
            rank=0,
            world_size=1)
    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda tensor, *args, **kwargs: tensor


def parse(parser: Parser) -> argparse.Namespace:
    """Parse options, set the threads and reduce the rounds of a quick run.

    Exits with a message if a number is below 1.
    """
    args = parser.parse_args()
    if args.rounds < 1 or args.threads < 1:
        parser.error('--rounds and --threads must be at least 1')
    if args.quick:
        args.rounds = min(args.rounds, 3)
    torch.set_num_threads(args.threads)
    return args


def compare(sides: dict[str, Callable[[], Any]],
            args: argparse.Namespace,
            per_round: int = 1,
            unit: str = 's',
            warm_up: bool = True) -> dict[str, Any]:
    """Run the sides in turn and print a line for each round.

    Every other round runs them in reverse order, so that it is not always the
    same side that starts with the caches of another one.

    Args:
        sides: Functions by the names of the sides, among them 'ours'. Their
            results are dropped.
        args: Options with ``rounds``, ``clock`` and ``sides``, the sides to
            run.
        per_round: Number of units in a run, such as images.
        unit: 's' for seconds, else a rate such as 'images/s'.
        warm_up: Whether to run each side once before.

    Returns:
        A dict of the median of each side; ``ratio``, how many times faster
        ours is than each other side, by the medians; ``spread``, the quartiles
        of this ratio over the rounds; and ``seconds`` of all rounds.
    """
    chosen = getattr(args, 'sides', None) or [*sides]
    sides = {name: call for name, call in sides.items() if name in chosen}
    seconds = {name: [] for name in sides}
    rounds = args.rounds
    if warm_up:
        for call in sides.values():
            call()
    start = time.monotonic()
    for done in range(1, rounds + 1):
        for name, call in [*sides.items()][::1 if done % 2 else -1]:
            seconds[name].append(timed(call, CLOCKS[args.clock]))
        shown = '  '.join(f'{name} {_shown(s[-1], per_round, unit):.4g} {unit}'
                          for name, s in seconds.items())
        left = (time.monotonic() - start) / done * (rounds - done)
        print(f'round {done}/{rounds}  {shown}  {left:.0f} s left', flush=True)
    others = [name for name in sides if name != 'ours']
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    return dict(
        {
            name: _shown(s, per_round, unit)
            for name, s in medians.items()
        },
        ratio={name: medians[name] / medians['ours']
               for name in others},
        spread={
            name:
            quartiles([a / b for a, b in zip(seconds[name], seconds['ours'])])
            for name in others
        },
        seconds=seconds,
        clock=args.clock,
        rounds=rounds)


def quartiles(values: Sequence[float]) -> list[float]:
    """Return the first and third quartile; of one value, this value twice."""
    if len(values) < 2:
        return [*values, *values]
    first, _, third = statistics.quantiles(values, method='inclusive')
    return [first, third]


def timed(call: Callable[[], Any],
          clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the seconds of a call, after collecting garbage."""
    gc.collect()
    start = clock()
    call()
    return clock() - start


def peak_extra_mib(call: Callable[[], Any]) -> float | None:
    """Return how much the process grows during a call, in MiB.

    It is measured by the kernel's high-water mark and so includes temporary
    memory inside of operators. None on systems other than Linux.
    """
    if not CLEAR.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text('5')  # resets the mark to the current memory
    before = _status('VmRSS')
    call()
    return (_status('VmHWM') - before) / 1024


def report(name: str, args: argparse.Namespace, **figures: Any) -> None:
    """Print the result of a benchmark as a JSON line.

    Args:
        name: Name of the benchmark.
        args: Options with ``out``, a file to append the line to, or None.
        **figures: The results.
    """
    line = json.dumps(
        dict(
            benchmark=name,
            **_rounded(figures),
            threads=torch.get_num_threads(),
            cores=os.cpu_count(),
            load=os.getloadavg()[0],
            cpu=cpu_name(),
            torch=torch.__version__))
    if args.out:
        with open(args.out, 'a') as file:
            file.write(line + '\n')
    print(line)


def cpu_name() -> str:
    """Return name and instruction set of the processor."""
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [v.split(':')[1].strip() for v in lines if 'model name' in v]
    name = names[0] if names else platform.processor() or platform.machine()
    return f'{name} {torch.backends.cpu.get_cpu_capability()}'


def _status(key: str) -> int:
    """Return a number of /proc/self/status in KiB."""
    lines = STATUS.read_text().splitlines()
    return next(int(v.split()[1]) for v in lines if v.startswith(key))


def _shown(seconds: float, per_round: int, unit: str) -> float:
    return seconds if unit == 's' else per_round / seconds


def _rounded(value: Any) -> Any:
    """Round all numbers in nested values to four significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f'{value:.4g}') if isinstance(value, float) else value
