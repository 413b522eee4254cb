"""Count the memory of a whole training step, without computing it.

The step of a config runs on torch's meta device, which has only the shapes of
tensors. The result is the memory of all tensors in float32 at the peak of the
second iteration (the first one creates the moments). Temporary memory inside
operators and overhead of the allocator are not counted; attention is computed
by fused kernels. ``--device cpu`` really computes the step, counts the same
tensors and also shows how much the process grows.

    python tools/benchmarks/memory.py dinov2_vit-b16 --images 16
    python tools/benchmarks/memory.py quickstart/dinov2_vit-tiny_cifar10 \
        --device cpu
"""
import argparse
import contextlib
import logging
import weakref
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from side_by_side import peak_extra_mib, report
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmdino.engine.arguments import CONFIG, add_settings
from mmdino.engine.configs import read_config
from mmdino.models import DINO
from mmdino.registry import MODELS
from mmdino.utils.tool import Parser, run_tool


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors that exist on a device.

    Args:
        device: Type of the device.

    Attributes:
        live (int): Current number of bytes.
        peak (int): Largest number since the last :meth:`restart`.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.live = self.peak = 0
        self.known = set()

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's memory once, until it is freed."""
        storage = tensor.untyped_storage()
        if tensor.device.type != self.device or id(storage) in self.known:
            return
        self.known.add(id(storage))
        weakref.finalize(storage, self._free, id(storage), storage.nbytes())
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)

    def restart(self) -> None:
        """Set the peak to the current number."""
        self.peak = self.live

    def _free(self, key: int, size: int) -> None:
        self.known.discard(key)
        self.live -= size

    def __torch_dispatch__(self,
                           func: Callable,
                           types: Any,
                           args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return out


def fused_attention(q: Tensor,
                    k: Tensor,
                    v: Tensor,
                    dropout_p: float = 0.) -> Tensor:
    """Call the kernel that stores no attention matrix.

    On the meta device torch would choose another one.
    """
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        q, k, v, dropout_p, False)[0]


def no_autocast() -> contextlib.AbstractContextManager:
    """Let torch.autocast do nothing, as it does not support meta tensors."""
    return mock.patch('torch.autocast',
                      lambda *args, **kwargs: contextlib.nullcontext())


class Step:
    """An iteration of a config's training, with the updates of its hooks.

    Args:
        cfg: Config of the training of a DINO.
        images: Number of images B.
        device: 'meta' or 'cpu'.
    """

    def __init__(self, cfg: Config, images: int, device: str) -> None:
        init_default_scope('mmdino')
        with torch.device(device):
            self.model: DINO = MODELS.build(cfg.model)
        self.model.to(device).train()
        for module in self.model.modules():
            if hasattr(module, 'scaled_dot_product_attention'):
                module.scaled_dot_product_attention = fused_attention
        # The fused optimizer does not support meta tensors. Without foreach,
        # the memory is the same.
        cfg.optim_wrapper.optimizer.update(fused=False, foreach=False)
        self.optim_wrapper = build_optim_wrapper(self.model, cfg.optim_wrapper)
        views = cfg.train_dataloader.dataset.pipeline.views.values()
        self.crops = [
            torch.zeros(images, 3, v.crop['size'], v.crop['size']).byte()
            for v in views for _ in range(v.num_views)
        ]

    def __call__(self) -> None:
        self.model.train_step(
            dict(inputs=[*self.crops], data_samples=None), self.optim_wrapper)
        for centering in self.model.centerings:
            centering.update()
        self.model.update_teacher(.99)


def measure(cfg: Config, images: int, device: str) -> dict[str, float]:
    """Return the MiB of both networks, of the moments, and of the peak.

    On a CPU also ``process_mib``: the sum of the first two and of the growth
    of the process in a step.
    """
    step = Step(cfg, images, device)
    counter = LiveBytes(device)
    tensors = [*step.model.parameters(), *step.model.buffers()]
    for tensor in tensors:
        counter.add(tensor)
    weights = counter.live
    torch.manual_seed(0)  # the same masks on every device
    with counter, no_autocast():
        step()
        moments = counter.live - weights
        counter.restart()
        step()
    figures = dict(weights=weights, moments=moments, peak=counter.peak)
    figures = {f'{name}_mib': n / 2**20 for name, n in figures.items()}
    if device == 'cpu':
        figures['process_mib'] = peak_extra_mib(step) or 0
        figures['process_mib'] += (weights + moments) / 2**20
    return figures


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # the list of all parameter groups
    cfg = read_config(args.config, args.cfg_options)
    images = args.images or cfg.train_dataloader.batch_size
    figures = measure(cfg, images, args.device)
    report(
        'memory',
        args,
        config=args.config,
        device=args.device,
        images=images,
        changes=args.cfg_options or {},
        **figures)


def parse_args() -> argparse.Namespace:
    parser = Parser(__doc__)
    parser.add_argument('config', help=CONFIG)
    parser.add_argument(
        '--images',
        type=int,
        help='batch size B; by default that of the config')
    parser.add_argument(
        '--device',
        choices=['meta', 'cpu'],
        default='meta',
        help='meta counts without computing, cpu computes (default: meta)')
    parser.add_argument('--out', help='file to append the JSON line to')
    add_settings(parser)
    return parser.parse_args()


if __name__ == '__main__':
    run_tool(lambda: main(parse_args()))
