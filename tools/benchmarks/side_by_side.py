"""Time several ways to compute the same, in turn, in one process.

What else the machine does hits all sides alike when they alternate, and the
median of the rounds leaves out the disturbed ones. The sides are 'authors',
their own code from a checkout (``--reference``), 'straightforward', the
formulas as one would write them down, and 'ours'.
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
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import torch
import torch.distributed

from mmdino.utils.tool import Parser

CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)
STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


def parser(description: str,
           rounds: int = 9,
           clocks: Sequence[str] = tuple(CLOCKS)) -> Parser:
    """The options that all benchmarks share."""
    parser = Parser(description)
    parser.add_argument(
        '--quick',
        action='store_true',
        help='smaller and fewer rounds, under a minute: shows that it runs')
    parser.add_argument(
        '--rounds', type=int, default=rounds, help='how often each side runs')
    parser.add_argument('--out', help='file to which the JSON line is added')
    parser.add_argument(
        '--threads',
        type=int,
        default=1,
        help='threads of torch; 1 is steadier on a busy machine')
    parser.add_argument(
        '--clock',
        choices=clocks,
        default='wall',
        help='cpu counts the time of this process alone: for one thread on '
        'a busy machine')
    return parser


def add_reference(parser: Parser) -> None:
    """The option that brings the authors' side in."""
    parser.add_argument(
        '--reference',
        help="checkout of the authors' code, whose own functions run beside "
        'ours: https://github.com/facebookresearch/dino; for dinov2_parts.py '
        'that of .../dinov2')
    parser.add_argument(
        '--sides',
        nargs='+',
        choices=['authors', 'straightforward', 'faiss', 'ours'],
        help='those to run; by default all')


def import_authors(checkout: str, file: str = 'main_dino.py') -> None:
    """Let the modules of a checkout, which has a file, be imported by name.

    Their loss adds the centre up over the processes: a group of one is made.
    What they send to a GPU stays on the CPU where there is none.
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
    """Parse, set the threads, cut the rounds of a quick run.

    Exits with a message if a count is below 1.
    """
    args = parser.parse_args()
    if args.rounds < 1 or args.threads < 1:
        parser.error('--rounds and --threads must be at least 1')
    if args.quick:
        args.rounds = min(args.rounds, 3)
    torch.set_num_threads(args.threads)
    return args


def compare(sides: Dict[str, Callable[[], Any]],
            args: argparse.Namespace,
            per_round: int = 1,
            unit: str = 's',
            warm_up: bool = True) -> Dict[str, Any]:
    """Run the sides in turn and print a row a round.

    Every other round runs them in the opposite order: whoever comes after a
    side that leaves the caches full of its own is not always the same.

    Args:
        sides (dict[str, Callable]): By their names, 'ours' among them; the
            results are dropped.
        args (argparse.Namespace): ``rounds``, how often each runs, ``clock``,
            and ``sides``, those that run.
        per_round (int): What a run counts for, such as images.
        unit (str): 's' for seconds a run, else a rate such as 'images/s'.
        warm_up (bool): Run each once before, for nothing.

    Returns:
        dict: The medians by the sides' names; ``ratio``, how many times
        faster ours is than each other, of the medians; ``spread``, the
        quartiles of that ratio over the rounds; ``seconds`` of every round.
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


def quartiles(values: Sequence[float]) -> List[float]:
    """The first and the third; of one value that value."""
    if len(values) < 2:
        return [*values, *values]
    first, _, third = statistics.quantiles(values, method='inclusive')
    return [first, third]


def timed(call: Callable[[], Any],
          clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call, garbage of the one before aside."""
    gc.collect()
    start = clock()
    call()
    return clock() - start


def peak_extra_mib(call: Callable[[], Any]) -> Optional[float]:
    """How much the process grows during a call, in MiB.

    From the kernel's high-water mark, so that what operators allocate inside
    counts; None where there is none (outside Linux).
    """
    if not CLEAR.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    CLEAR.write_text('5')  # sets the mark to what is in use now
    before = _status('VmRSS')
    call()
    return (_status('VmHWM') - before) / 1024


def report(name: str, args: argparse.Namespace, **figures: Any) -> None:
    """Print the one JSON line that a benchmark ends with; keep it.

    Args:
        name (str): The benchmark's.
        args (argparse.Namespace): ``out``, a file to which it is added.
        **figures: What was measured.
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
    """Name and instruction set of the processor."""
    cpuinfo = Path('/proc/cpuinfo')
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [v.split(':')[1].strip() for v in lines if 'model name' in v]
    name = names[0] if names else platform.processor() or platform.machine()
    return f'{name} {torch.backends.cpu.get_cpu_capability()}'


def _status(key: str) -> int:
    """A figure of /proc/self/status in KiB."""
    lines = STATUS.read_text().splitlines()
    return next(int(v.split()[1]) for v in lines if v.startswith(key))


def _shown(seconds: float, per_round: int, unit: str) -> float:
    return seconds if unit == 's' else per_round / seconds


def _rounded(value: Any) -> Any:
    """Four significant digits of all numbers, however deep."""
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f'{value:.4g}') if isinstance(value, float) else value
