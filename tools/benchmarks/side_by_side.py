"""Time two ways to compute the same, in turn, in one process.

What else the machine does hits both sides alike when they alternate, and the
median of the rounds leaves out the disturbed ones.
"""
import argparse
import ctypes
import gc
import json
import platform
import statistics
import time
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Sequence

import torch

CLOCKS = dict(wall=time.perf_counter, cpu=time.process_time)
STATUS, CLEAR = Path('/proc/self/status'), Path('/proc/self/clear_refs')


def parser(
    description: str,
    rounds: int = 9,
    clocks: Sequence[str] = tuple(CLOCKS)
) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--quick',
        action='store_true',
        help='smaller and fewer rounds, under a minute: shows that it runs')
    parser.add_argument(
        '--rounds', type=int, default=rounds, help='how often each side runs')
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


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
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


def compare(straightforward: Callable[[], Any],
            ours: Callable[[], Any],
            args: argparse.Namespace,
            per_round: int = 1,
            unit: str = 's',
            warm_up: bool = True) -> Dict[str, Any]:
    """Run the two in turn and print a row a round.

    Args:
        straightforward (Callable): One side; its result is dropped.
        ours (Callable): The other.
        args (argparse.Namespace): ``rounds``, how often each runs, and
            ``clock``.
        per_round (int): What a run counts for, such as images.
        unit (str): 's' for seconds a run, else a rate such as 'images/s'.
        warm_up (bool): Run each once before, for nothing.

    Returns:
        dict: The medians ``straightforward`` and ``ours``, ``ratio``, how
        many times faster ours is, ``clock`` and ``rounds``.
    """
    sides = dict(straightforward=straightforward, ours=ours)
    seconds = {name: [] for name in sides}
    rounds = args.rounds
    if warm_up:
        straightforward()
        ours()
    start = time.monotonic()
    for done in range(1, rounds + 1):
        for name, call in sides.items():
            seconds[name].append(timed(call, CLOCKS[args.clock]))
        values = {
            name: _shown(s[-1], per_round, unit)
            for name, s in seconds.items()
        }
        last = seconds['straightforward'][-1] / seconds['ours'][-1]
        left = (time.monotonic() - start) / done * (rounds - done)
        print(
            f'round {done}/{rounds}  ' +
            '  '.join(f'{name} {value:.4g} {unit}'
                      for name, value in values.items()) +
            f'  ratio {last:.2f}  {left:.0f} s left',
            flush=True)
    medians = {name: statistics.median(s) for name, s in seconds.items()}
    shown = {name: _shown(s, per_round, unit) for name, s in medians.items()}
    ratio = medians['straightforward'] / medians['ours']
    return dict(shown, ratio=ratio, clock=args.clock, rounds=rounds)


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


def report(name: str, **figures: Any) -> None:
    """Print the one JSON line that a benchmark ends with."""
    print(
        json.dumps(
            dict(
                benchmark=name,
                **{
                    key: _rounded(value)
                    for key, value in figures.items()
                },
                threads=torch.get_num_threads(),
                cpu=cpu_name(),
                torch=torch.__version__)))


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
    return float(f'{value:.4g}') if isinstance(value, float) else value
