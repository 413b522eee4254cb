"""The training step on a GPU: images/s, memory, share of the peak rate.

The straightforward side is train_step.py's under float16 autocast with loss
scaling; ours is bfloat16 autocast, fused attention, optimizer, loss and
teacher, the backbones compiled, images channels-last. The peak is what a
large bfloat16 matrix product reaches on the same GPU.

    python tools/benchmarks/gpu.py
    python tools/benchmarks/gpu.py --switches     # ours, one switch at a time
"""
import argparse
import json
import statistics
import sys
from typing import Any, Callable, Dict, List

import torch
from side_by_side import compare, parse, parser, report, timed
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from train_step import (SIZES, Ours, Straightforward, checkpoint_blocks,
                        compiled, make_crops, make_model)

from mmdino.models import DINO

CONFIGS = ('dino_vit-s16', 'dino_vit-s8', 'dino_vit-b16')
BF16 = 'PerParameterClipBFloat16OptimWrapper'


def peak_rate(side: int = 8192, rounds: int = 10) -> float:
    """Floating-point operations a second of a bfloat16 matrix product."""
    a = torch.randn(side, side, dtype=torch.bfloat16, device='cuda')
    seconds = [
        timed(lambda: synchronised(lambda: a @ a)) for _ in range(rounds)
    ]
    return 2 * side**3 / min(seconds)


def synchronised(call: Callable[[], Any]) -> None:
    call()
    torch.cuda.synchronize()


def operations(step: Callable[[], Any]) -> int:
    """Floating-point operations of a step, by the shapes of its products."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def peak_mib(step: Callable[[], Any]) -> float:
    torch.cuda.reset_peak_memory_stats()
    synchronised(step)
    return torch.cuda.max_memory_allocated() / 2**20


def channels_last(model: DINO) -> DINO:
    """Let the convolutions take and give channels-last maps."""
    return model.to(memory_format=torch.channels_last)


def on_gpu(config: str, **changes) -> DINO:
    return make_model('full', config, **changes).cuda()


def measure_sides(config: str, crops: List[Tensor], peak: float,
                  args: argparse.Namespace) -> Dict[str, float]:
    """Medians of both sides, their memory and share of the peak rate."""
    plain = Straightforward(on_gpu(config), crops, half=True)
    work = operations(plain)
    ours = Ours(compiled(channels_last(on_gpu(config))), crops, BF16)
    sides = dict(straightforward=plain, ours=ours)
    images = len(crops[0])
    figures = compare(
        lambda: synchronised(plain),
        lambda: synchronised(ours),
        args,
        per_round=images,
        unit='images/s')
    for name, step in sides.items():
        figures[f'{name}_mib'] = peak_mib(step)
        figures[f'{name}_of_peak'] = work * figures[name] / images / peak
    return figures


def switches(config: str, crops: List[Tensor], args: argparse.Namespace,
             device: str) -> None:
    """Print ours with each switch alone, beside none."""
    clip = 'PerParameterClipOptimWrapper'
    rows = dict(
        float32=(lambda: on_gpu(config), clip),
        bfloat16=(lambda: on_gpu(config), BF16),
        channels_last=(lambda: channels_last(on_gpu(config)), BF16),
        compiled=(lambda: compiled(on_gpu(config)), BF16),
        activation_checkpointing=(lambda: checkpoint_blocks(on_gpu(config)),
                                  BF16),
        chunked_last_layer=(
            lambda: on_gpu(config, type='ChunkedDINO', images_per_chunk=8),
            BF16))
    table = {}
    for name, (build, wrapper) in rows.items():
        rate, mib = table[name] = rate_and_memory(
            Ours(build(), crops, wrapper), len(crops[0]), args.rounds)
        print(f'{config}  {name:26} {rate} images/s  {mib} MiB', flush=True)
        torch.cuda.empty_cache()
    report(f'gpu_switches_{config}', device=device, **table)


def rate_and_memory(step: Callable[[], Any], images: int,
                    rounds: int) -> List[float]:
    """Images/s and MiB at the peak."""
    for _ in range(3):  # compilation, the allocator's pool
        step()
    seconds = [timed(lambda: synchronised(step)) for _ in range(rounds)]
    rate = images / statistics.median(seconds)
    return [round(rate, 1), round(peak_mib(step))]


def main(args: argparse.Namespace) -> None:
    if not torch.cuda.is_available():
        sys.exit('gpu.py needs an NVIDIA GPU, and torch '
                 f'{torch.__version__} sees none. On a CPU run train_step.py.')
    device, peak = torch.cuda.get_device_name(), peak_rate()
    images = min(args.images, 8) if args.quick else args.images
    configs = args.configs[:1] if args.quick else args.configs
    crops = [crop.cuda() for crop in make_crops(images, SIZES)]
    results = {}
    for config in configs:
        print(config, flush=True)
        if args.switches:
            switches(config, crops, args, device)
        else:
            results[config] = measure_sides(config, crops, peak, args)
            print(json.dumps({config: results[config]}), flush=True)
        torch.cuda.empty_cache()
    if results:
        report(
            'gpu',
            unit='images/s',
            device=device,
            images=images,
            bf16_peak_teraflops=peak / 1e12,
            models=results)


if __name__ == '__main__':
    options = parser(__doc__, rounds=10)
    options.add_argument('--images', type=int, default=32, help='batch')
    options.add_argument('--configs', nargs='+', default=list(CONFIGS))
    options.add_argument(
        '--switches',
        action='store_true',
        help='ours alone, with one switch at a time')
    main(parse(options))
