"""Measure the training step on a GPU: images/s, memory, use of the peak rate.

The straightforward side is that of train_step.py with float16 autocast and a
loss scale; ours has bfloat16 autocast, fused attention, optimizer, loss and
teacher, and channels-last memory. Both start with crops in pinned memory:
normalised floats for the one, uint8 for ours. ``ours_compiled`` also compiles
the backbones; it runs last, because this can take minutes. The peak rate is
that of a large bfloat16 matrix product on the same GPU. Memory is measured
with only one side on the GPU. A JSON line is printed for each row, and one for
all rows at the end.

    python tools/benchmarks/gpu.py
    python tools/benchmarks/gpu.py --switches   # ours with each option alone
"""
import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

import torch
from side_by_side import compare, parse, parser, report, timed
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from train_step import (BF16, SIZES, Ours, Straightforward, compiled,
                        make_crops, make_model)

from mmdino.engine.arguments import CONFIG
from mmdino.models import DINO
from mmdino.utils.tool import run_tool

CONFIGS = ('dino_vit-s16', 'dino_vit-s8', 'dino_vit-b16')


def peak_rate(side: int = 8192, rounds: int = 10) -> float:
    """Measure the operations per second of a large bfloat16 product."""
    a = torch.randn(side, side, dtype=torch.bfloat16, device='cuda')
    seconds = [
        timed(lambda: synchronised(lambda: a @ a)) for _ in range(rounds)
    ]
    return 2 * side**3 / min(seconds)


def synchronised(call: Callable[[], Any]) -> None:
    call()
    torch.cuda.synchronize()


def operations(step: Callable[[], Any]) -> int:
    """Count the floating-point operations of a step's products."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def peak_mib(step: Callable[[], Any]) -> float:
    torch.cuda.reset_peak_memory_stats()
    synchronised(step)
    return torch.cuda.max_memory_allocated() / 2**20


def channels_last(model: DINO) -> DINO:
    """Let the convolutions use channels-last memory."""
    return model.to(memory_format=torch.channels_last)


def on_gpu(config: str, **changes) -> DINO:
    return make_model('full', config, **changes).cuda()


def measure_sides(config: str, crops: list[Tensor], peak: float,
                  args: argparse.Namespace) -> dict[str, Any]:
    """Measure both sides, see :func:`measure`."""
    plain = dict(
        straightforward=lambda: Straightforward(
            on_gpu(config), crops, half=True),
        ours=lambda: Ours(channels_last(on_gpu(config)), crops, BF16))
    return measure(config, plain, crops, peak, args)


def measure_compiled(config: str, crops: list[Tensor], peak: float,
                     args: argparse.Namespace) -> dict[str, Any]:
    """Measure ours with compiled backbones, see :func:`measure`.

    ``compiled_speedup`` compares it with ours without compilation, in the same
    rounds.
    """
    sides = dict(
        ours=lambda: Ours(channels_last(on_gpu(config)), crops, BF16),
        ours_compiled=lambda: Ours(
            compiled(channels_last(on_gpu(config))), crops, BF16))
    figures = measure(config, sides, crops, peak, args)
    speedup = figures['ours_compiled'] / figures['ours']
    kept = {k: v for k, v in figures.items() if k.startswith('ours_compiled')}
    return dict(kept, compiled_speedup=speedup)


def measure(config: str, builds: dict[str, Callable], crops: list[Tensor],
            peak: float, args: argparse.Namespace) -> dict[str, Any]:
    """Measure median rate, memory and fraction of the peak rate of steps.

    Args:
        config: Name of the config. The operations of its straightforward step
            are taken for all sides.
        builds: Functions that build a step, by the names of the sides.
        crops: Uint8 views.
        peak: Peak rate in operations per second.
        args: Options, see :func:`.side_by_side.compare`.
    """
    work = operations(Straightforward(on_gpu(config), crops, half=True))
    memory = {name: alone_mib(build) for name, build in builds.items()}
    sides = {name: warmed(build()) for name, build in builds.items()}
    images = len(crops[0])
    figures = compare(
        {
            name: lambda step=step: synchronised(step)
            for name, step in sides.items()
        },
        args,
        per_round=images,
        unit='images/s')
    for name in sides:
        figures[f'{name}_mib'] = memory[name]
        figures[f'{name}_of_peak'] = work * figures[name] / images / peak
    return figures


def alone_mib(build: Callable[[], Callable]) -> float:
    """Measure the peak MiB of a step that is alone on the GPU."""
    torch.cuda.empty_cache()
    return peak_mib(warmed(build()))


def warmed(step: Callable[[], Any], times: int = 5) -> Callable[[], Any]:
    """Run a step until it is compiled and its loss scale has settled."""
    for _ in range(times):
        step()
    return step


def switches(config: str, crops: list[Tensor],
             args: argparse.Namespace) -> dict[str, list[float]]:
    """Measure images/s and MiB of ours with each option alone, and with none.
    """
    clip = 'PerParameterClipOptimWrapper'
    rows = dict(
        float32=(lambda: on_gpu(config), clip),
        bfloat16=(lambda: on_gpu(config), BF16),
        channels_last=(lambda: channels_last(on_gpu(config)), BF16),
        with_cp=(lambda: on_gpu(config, backbone=dict(with_cp=True)), BF16),
        chunked_last_layer=(lambda: on_gpu(config, images_per_chunk=8), BF16),
        compiled=(lambda: compiled(on_gpu(config)), BF16))
    table = {}
    for name, (build, wrapper) in rows.items():
        torch.cuda.empty_cache()
        table[name] = rate_and_memory(
            warmed(Ours(build(), crops, wrapper)), len(crops[0]), args.rounds)
        show(config, {name: table[name]})
    return table


def show(config: str, row: dict[str, Any]) -> None:
    """Print the results of a config as a JSON line."""
    print(json.dumps({config: row}), flush=True)


def rate_and_memory(step: Callable[[], Any], images: int,
                    rounds: int) -> list[float]:
    """Measure images/s and peak MiB of a step."""
    seconds = [timed(lambda: synchronised(step)) for _ in range(rounds)]
    rate = images / statistics.median(seconds)
    return [round(rate, 1), round(peak_mib(step))]


def unless_out_of_memory(side: Callable, config: str, crops: list[Tensor],
                         peak: float,
                         args: argparse.Namespace) -> dict[str, Any]:
    """Measure a side, or return an error if the GPU is too small for it."""
    print(f'{config}, {side.__name__}', flush=True)
    torch._dynamo.reset()
    try:
        return side(config, crops, peak, args)
    except torch.OutOfMemoryError as error:
        print(f'{config} with {len(crops[0])} images: {error}', flush=True)
        return {f'{side.__name__}_error': 'out of memory'}


def main(args: argparse.Namespace) -> None:
    if not torch.cuda.is_available():
        raise RuntimeError(
            f'gpu.py needs an NVIDIA GPU, and torch {torch.__version__} sees '
            'none. On a CPU run train_step.py.')
    # Otherwise torch would run without compilation after too many graphs, with
    # only a line in the log.
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    peak = peak_rate()
    images = min(args.images, 8) if args.quick else args.images
    configs = args.configs[:1] if args.quick else args.configs
    crops = [crop.pin_memory() for crop in make_crops(images, SIZES)]
    models = {config: {} for config in configs}
    if args.switches:
        for config in configs:
            print(f'{config}: images/s, MiB', flush=True)
            models[config] = switches(config, crops, args)
    else:
        for side in (measure_sides, measure_compiled):
            for config in configs:
                row = unless_out_of_memory(side, config, crops, peak, args)
                show(config, row)
                models[config].update(row)
    ratios = [
        row['ratio']['straightforward'] for row in models.values()
        if 'ratio' in row
    ]
    report(
        'gpu_switches' if args.switches else 'gpu',
        args,
        unit='images/s',
        device=torch.cuda.get_device_name(),
        images=images,
        bf16_peak_teraflops=peak / 1e12,
        ratio=min(ratios, default=None),
        models=models)


if __name__ == '__main__':
    options = parser(__doc__, rounds=10, clocks=['wall'])
    options.add_argument('--images', type=int, default=32, help='batch size B')
    options.add_argument(
        '--configs', nargs='+', default=list(CONFIGS), help=CONFIG)
    options.add_argument(
        '--switches',
        action='store_true',
        help='instead measure ours with each option alone')
    run_tool(lambda: main(parse(options)))
