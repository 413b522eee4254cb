"""Measure how loaders and steps scale, and compute what N GPUs need.

It measures the rate of the loader by the number of workers, and the time of a
step by the number of processes. From these rates, and from the images/s that
one GPU trains on, it computes the data rates, network bandwidth and memory
that 8, 64 and 512 GPUs need. gpu.py measures the rate of a GPU, which is given
by --gpu-images or else assumed. Each row of the table names its sources.

    python tools/benchmarks/scaling.py --images photos.zip --gpu-images 400
"""
import argparse
import os
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
import torch.distributed
import torch.multiprocessing
from mmengine.config import Config
from mmengine.dataset import RepeatDataset
from mmengine.fileio import get
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from multi_crop import CONFIG, draw_photos, our_dataset
from side_by_side import parse, parser, report, timed
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from train_step import SIZES, Ours, Straightforward, make_crops, make_model

from mmdino.datasets import Images
from mmdino.utils.tool import run_tool

GPUS = (8, 64, 512)
ASSUMED_RATE = 400.  # images/s of a GPU, if it is not measured
# Sources of each row: the rate of a GPU, measurements on this machine, and
# numbers counted from the model and the sizes of the views.
BASIS = dict(
    images_per_s='{rate} rate',
    batch='chosen',
    loader_cores_per_gpu='{rate} rate, measured crops',
    read_mb_per_s='{rate} rate, measured files',
    crops_mb_per_s_per_gpu='{rate} rate, counted bytes',
    network_gb_per_s_per_gpu='{rate} rate, counted parameters',
    state_gb_per_gpu='counted',
    sharded_state_gb_per_gpu='counted',
    gallery_mb_per_gpu='counted')
GPU_BATCH, LARGEST_BATCH = 64, 4096  # images; published batches reach 4,080
IMAGENET = 1281167  # images, the gallery of k-NN
TINY_SIZES = 2 * [32] + 8 * [16]


def loader_rates(dataset: Images, workers: Sequence[int], batch_size: int,
                 repeats: int, rounds: int) -> dict[int, float]:
    """Measure the images/s of the config's loader by the number of workers.

    The loaders take turns, one epoch each, after an epoch to warm up.
    """
    loaders = {}
    for number in workers:
        cfg = Config.fromfile(CONFIG).train_dataloader
        cfg.update(
            batch_size=batch_size,
            num_workers=number,
            persistent_workers=number > 0,
            pin_memory=False,
            dataset=RepeatDataset(dataset, repeats))
        loaders[number] = Runner.build_dataloader(cfg, seed=0)
    seconds = {number: [] for number in workers}
    count = repeats * len(dataset) // batch_size * batch_size
    for done in range(rounds + 1):
        for number, loader in loaders.items():
            seconds[number].append(timed(lambda: list(map(len, loader))))
        print(
            f'loader {done}/{rounds}  ' +
            '  '.join(f'{number} workers {count / s[-1]:.4g} images/s'
                      for number, s in seconds.items()),
            flush=True)
    return {
        number: count / statistics.median(times[1:])
        for number, times in seconds.items()
    }


def images_of_a_core(rates: dict[int, float], cores: int) -> float:
    """Return the images/s of one core that is fully used by workers.

    Args:
        rates: Images/s by the number of workers.
        cores: Number of cores of this machine.
    """
    workers = max((n for n in rates if n <= cores), default=min(rates))
    return rates[workers] / max(min(workers, cores), 1)


def step_seconds(processes: int, size: str, images: int, rounds: int) -> float:
    """Measure the seconds of a DDP step, with ``images`` on each process."""
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            _run_rank, (processes, folder, size, images, rounds),
            nprocs=processes)
        return float(Path(folder, 'seconds').read_text())


def _run_rank(rank: int, processes: int, folder: str, size: str, images: int,
              rounds: int) -> None:
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(processes), LOCAL_RANK=str(rank))
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        'gloo',
        init_method=f'file://{folder}/store',
        rank=rank,
        world_size=processes)
    step = Ours(make_model(size), make_crops(images, sizes_of(size)))
    if processes > 1:
        step.network = MMDistributedDataParallel(
            step.model, broadcast_buffers=False)
    step()
    seconds = statistics.median(timed(step) for _ in range(rounds))
    if rank == 0:
        Path(folder, 'seconds').write_text(str(seconds))
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


def sizes_of(size: str) -> list[int]:
    """Return the sides of the crops of an image, in pixels."""
    return TINY_SIZES if size == 'tiny' else SIZES


def flops_per_image(size: str) -> int:
    """Count the floating-point operations of a step's products per image."""
    step = Straightforward(make_model(size), make_crops(1, sizes_of(size)))
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def state_bytes(model: nn.Module) -> dict[str, int]:
    """Count the bytes of the model and optimizer on a GPU, in float32.

    The student has parameters, gradients and the two moments of AdamW; the
    teacher has parameters only.
    """
    student = sum(p.numel() for p in model.parameters() if p.requires_grad)
    everything = sum(p.numel() for p in model.parameters())
    return dict(gradient=4 * student, state=4 * (everything + 3 * student))


def needs(gpus: int, gpu_images: float, batch: int, core_images: float,
          file_bytes: float, gradient: int, state: int, feature_bytes: int,
          crop_bytes: int) -> dict[str, float]:
    """Compute what data-parallel training needs so that no GPU waits.

    Args:
        gpus: Number of GPUs.
        gpu_images: Images/s that one GPU trains on.
        batch: Number of images in a step on each GPU.
        core_images: Images/s that one core makes crops of.
        file_bytes: Bytes of an image file.
        gradient: Bytes of the student's gradient.
        state: Bytes of parameters, gradient and moments.
        feature_bytes: Bytes of the feature of an image.
        crop_bytes: Bytes of the uint8 crops of an image.
    """
    steps = gpu_images / batch
    ring = 2 * (gpus - 1) / gpus * gradient  # all-reduce, sent by each GPU
    return dict(
        images_per_s=gpus * gpu_images,
        batch=gpus * batch,
        loader_cores_per_gpu=gpu_images / core_images,
        read_mb_per_s=gpus * gpu_images * file_bytes / 1e6,
        crops_mb_per_s_per_gpu=gpu_images * crop_bytes / 1e6,
        network_gb_per_s_per_gpu=ring * steps / 1e9,
        state_gb_per_gpu=state / 1e9,
        sharded_state_gb_per_gpu=state / gpus / 1e9,
        gallery_mb_per_gpu=IMAGENET * feature_bytes / gpus / 1e6)


def main(args: argparse.Namespace) -> None:
    cv2.setNumThreads(0)
    size = 'tiny' if args.quick else 'full'
    with tempfile.TemporaryDirectory() as folder:
        draw_photos(Path(folder), 8 if args.quick else 32)
        dataset = our_dataset(args.images or folder)
        paths = [
            dataset.get_data_info(i)['img_path'] for i in range(len(dataset))
        ]
        file_bytes = statistics.mean(len(get(path)) for path in paths)
        loader = loader_rates(dataset, args.workers, 8, 1 if args.quick else 8,
                              args.rounds)
    steps = {}
    for processes in args.processes:
        seconds = step_seconds(processes, size, args.batch, args.rounds)
        rate = processes * args.batch / seconds
        steps[processes] = dict(seconds=seconds, images_per_s=rate)
        print(
            f'{processes} processes: {seconds:.3g} s, {rate:.3g} images/s',
            flush=True)
    flops = flops_per_image(size)
    model = make_model(size)
    gpu_images = args.gpu_images or ASSUMED_RATE
    table = {
        gpus:
        needs(
            gpus,
            gpu_images,
            batch=min(GPU_BATCH, LARGEST_BATCH // gpus),
            core_images=images_of_a_core(loader, os.cpu_count()),
            file_bytes=file_bytes,
            feature_bytes=4 * model.head.in_channels,
            crop_bytes=3 * sum(side**2 for side in sizes_of(size)),
            **state_bytes(model))
        for gpus in GPUS
    }
    rate = 'measured' if args.gpu_images else 'assumed'
    basis = {key: text.format(rate=rate) for key, text in BASIS.items()}
    for key, text in basis.items():
        values = '  '.join(f'{row[key]:9.3g}' for row in table.values())
        print(f'{key:26} {values}  {text}', flush=True)
    report(
        'scaling',
        args,
        loader_images_per_s=loader,
        steps=steps,
        file_bytes=file_bytes,
        gflop_per_image=flops / 1e9,
        gpu_images_per_s=gpu_images,
        gpu_tflops=gpu_images * flops / 1e12,
        needs=table,
        basis=basis)


if __name__ == '__main__':
    options = parser(__doc__, rounds=5, clocks=['wall'])
    options.add_argument(
        '--images',
        help='folder or zip archive of JPEGs (default: drawn images)')
    options.add_argument(
        '--workers',
        type=int,
        nargs='+',
        default=[0, 1, 2, 4],
        help='numbers of workers of the loader')
    options.add_argument(
        '--processes',
        type=int,
        nargs='+',
        default=[1, 2],
        help='numbers of training processes')
    options.add_argument(
        '--batch',
        type=int,
        default=4,
        help='number of images on each process')
    options.add_argument(
        '--gpu-images',
        type=float,
        help='images/s that a GPU trains on, as gpu.py measures it; by '
        f'default {ASSUMED_RATE:g} are assumed')
    run_tool(lambda: main(parse(options)))
