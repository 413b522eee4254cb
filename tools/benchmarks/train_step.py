"""Time a whole training step: two networks, loss, AdamW and teacher.

The straightforward side computes DINO's algorithm one operation, one pair of
views and one parameter at a time: attention is written out, and loss,
clipping, AdamW and the teacher are loops. Ours is DINO.train_step with the
optim wrapper of the config, then the teacher and the centre. The side
'authors' uses the networks, loss and clipping of DINO's authors. On a GPU the
other sides run in float16 with a loss scale, ours in bfloat16.

    python tools/benchmarks/train_step.py --reference CHECKOUT
    python tools/benchmarks/train_step.py --switches   # ours with each option
"""
import argparse
import copy
import re
from collections.abc import Callable

import authors
import torch
import torch.nn as nn
import torch.nn.functional as F
from loss import STUDENT_TEMP, TEACHER_TEMP
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from models import build_model
from side_by_side import (CLOCKS, add_reference, compare, import_authors,
                          parse, parser, peak_extra_mib, report, timed)
from torch import Tensor
from torch.profiler import profile

from mmdino.engine.hooks.compile import compile_backbones
from mmdino.models import DINO
from mmdino.utils.resources import find_config
from mmdino.utils.tool import run_tool

MOMENTUM, MAX_NORM, CENTER_MOMENTUM = .996, 3., .9
LR, WEIGHT_DECAY = 5e-4, .04
SETTINGS = dict(
    lr=LR, weight_decay=WEIGHT_DECAY, max_norm=MAX_NORM, momentum=MOMENTUM)
BF16 = 'PerParameterClipBFloat16OptimWrapper'
SIZES = 2 * [224] + 8 * [96]
TINY = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=24,
            num_layers=2,
            num_heads=3,
            feedforward_channels=96),
        img_size=32),
    head=dict(out_dim=64, hidden_channels=32, bottleneck_channels=16))
# Operators that are matrix products, forward and backward.
PRODUCTS = re.compile(r'aten::((add|b|badd)?mm_?|.*convolution(_backward)?|'
                      r'_scaled_dot_product.*)')


def make_model(size: str, config: str = 'dino_vit-s16', **changed) -> DINO:
    """Build a DINO, by default without stochastic depth, as the other sides.

    Args:
        size: 'tiny', or 'full' for the network of the config.
        config: Name of a packaged config.
        **changed: Settings that override those of ``model``.
    """
    torch.manual_seed(0)
    changes = [TINY] if size == 'tiny' else []
    changes += [dict(backbone=dict(drop_path_rate=0.)), changed]
    return build_model(config, *changes).train()


def make_crops(images: int, sizes: list[int]) -> list[Tensor]:
    """Return uint8 views (B, 3, H, W), like those of a data loader."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(
            256, (images, 3, size, size),
            generator=generator,
            dtype=torch.uint8) for size in sizes
    ]


class Straightforward:
    """The straightforward step, with the modules of a copy of a model.

    Args:
        model: The model, which is copied.
        crops: Uint8 views, which are normalised once, since the authors'
            loader does it in its workers.
        half: On a GPU: use autocast to float16 with a loss scale, torch's
            default AdamW, and crops in pinned memory.
    """

    def __init__(self,
                 model: DINO,
                 crops: list[Tensor],
                 half: bool = False) -> None:
        model = copy.deepcopy(model)
        for module in model.modules():
            if hasattr(module, 'scaled_dot_product_attention'):
                module.scaled_dot_product_attention = attention
        self.student = nn.ModuleList([model.backbone, model.head])
        self.teacher = nn.ModuleList(
            [model.teacher.backbone, model.teacher.head])
        self.center = torch.zeros_like(model.centering.center)
        with torch.no_grad():
            self.crops = model.data_preprocessor(
                dict(inputs=crops, data_samples=None), True)['inputs']
        if half:
            self.crops = [crop.cpu().pin_memory() for crop in self.crops]
        decayed = [p for p in self.student.parameters() if p.ndim > 1]
        others = [p for p in self.student.parameters() if p.ndim <= 1]
        groups = [
            dict(params=decayed, weight_decay=WEIGHT_DECAY),
            dict(params=others, weight_decay=0.)
        ]
        self.optimizer = torch.optim.AdamW(
            groups, lr=LR, foreach=None if half else False)
        self.device, self.half = self.center.device.type, half
        self.scaler = torch.amp.GradScaler(self.device, enabled=half)

    def __call__(self) -> float:
        crops = [c.to(self.device, non_blocking=True) for c in self.crops]
        with torch.autocast(self.device, torch.float16, enabled=self.half):
            with torch.no_grad():
                teacher = logits(self.teacher, crops[:2])
            loss = self.loss(logits(self.student, crops), teacher)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        self.clip()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()
        self.follow(teacher)
        return loss.item()

    def clip(self) -> None:
        for param in self.student.parameters():
            if param.grad is not None:
                factor = MAX_NORM / (param.grad.norm() + 1e-6)
                if factor < 1:
                    param.grad.mul_(factor)

    @torch.no_grad()
    def follow(self, teacher_logits: list[Tensor]) -> None:
        """Update the centre and the teacher."""
        logits = torch.cat(teacher_logits).to(self.center.dtype)
        mean = logits.mean(0, keepdim=True)
        self.center = CENTER_MOMENTUM * self.center + (1 -
                                                       CENTER_MOMENTUM) * mean
        for old, new in zip(self.teacher.parameters(),
                            self.student.parameters()):
            old.mul_(MOMENTUM).add_((1 - MOMENTUM) * new)

    def loss(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        losses = []
        for t, logits_t in enumerate(teacher):
            targets = F.softmax((logits_t - self.center) / TEACHER_TEMP, -1)
            for s, logits_s in enumerate(student):
                if s != t:
                    log_probs = F.log_softmax(logits_s / STUDENT_TEMP, -1)
                    losses.append(-(targets * log_probs).sum(-1).mean())
        return sum(losses) / len(losses)


def attention(q: Tensor, k: Tensor, v: Tensor, dropout_p: float) -> Tensor:
    scores = q @ k.transpose(-2, -1) * q.shape[-1]**-.5
    return scores.softmax(-1) @ v


def logits(network: nn.ModuleList, crops: list[Tensor]) -> list[Tensor]:
    """Run the backbone once for each size, and the head once, as in DINO."""
    backbone, head = network
    sizes = sorted({crop.shape[-1] for crop in crops}, reverse=True)
    vectors = [
        backbone(torch.cat([c for c in crops if c.shape[-1] == size]))[-1]
        for size in sizes
    ]
    vectors = F.normalize(head.mlp(torch.cat(vectors)), dim=-1)
    return list(head.last_layer(vectors).chunk(len(crops)))


class Ours:
    """An iteration as a Runner with mmdino's hooks computes it.

    Args:
        model: The model, which is trained in place.
        crops: Uint8 views.
        wrapper: Type of the optim wrapper.
    """

    def __init__(self,
                 model: DINO,
                 crops: list[Tensor],
                 wrapper: str = 'PerParameterClipOptimWrapper') -> None:
        self.model = self.network = model  # or the model wrapped in DDP
        self.batch = dict(inputs=crops, data_samples=None)
        cfg = Config.fromfile(find_config('dino_vit-s16')).optim_wrapper
        cfg.type = wrapper
        cfg.optimizer.update(lr=LR, weight_decay=WEIGHT_DECAY)
        self.optim_wrapper = build_optim_wrapper(model, cfg)

    def __call__(self) -> float:
        losses = self.network.train_step(self.batch, self.optim_wrapper)
        for centering in self.model.centerings:
            centering.update()
        self.model.update_teacher(MOMENTUM)
        return losses['loss'].item()


def product_share(step: Callable) -> float:
    """Return the fraction of the time of a step that is matrix products."""
    with profile() as trace:
        step()
    times = {e.key: e.self_cpu_time_total for e in trace.key_averages()}
    products = sum(t for name, t in times.items() if PRODUCTS.fullmatch(name))
    return products / sum(times.values())


def compiled(model: DINO) -> DINO:
    """Compile the backbones, as CompileHook does."""
    compile_backbones(model)
    return model


def switches(size: str, crops: list[Tensor],
             args: argparse.Namespace) -> dict[str, list]:
    """Measure seconds and MiB of a step with each option alone."""

    def backbone(**changed) -> Callable[[], DINO]:
        return lambda: make_model(size, backbone=changed)

    depth = dict(drop_path_rate=.3, drop_path_uniform=True)
    models = dict(
        none=backbone(),
        compiled=lambda: compiled(make_model(size)),
        with_cp=backbone(with_cp=True),
        drop_path=backbone(**depth),
        drop_path_subset=backbone(drop_path_subset=True, **depth),
        drop_path_subset_with_cp=backbone(
            drop_path_subset=True, with_cp=True, **depth),
        chunked_last_layer=lambda: make_model(size, images_per_chunk=4))
    if args.only:
        models = {name: models[name] for name in args.only}
    table = {}
    for name, build in models.items():
        step = Ours(build(), crops)
        step()
        seconds = min(
            timed(step, CLOCKS[args.clock]) for _ in range(args.rounds))
        table[name] = [round(seconds, 3), round(peak_extra_mib(step) or 0)]
        print(f'{name:26} {seconds:.3g} s  {table[name][1]} MiB', flush=True)
    return table


def main(args: argparse.Namespace) -> None:
    size, sizes = ('tiny', 2 * [32] + 8 * [16]) if args.quick else ('full',
                                                                    SIZES)
    crops = make_crops(args.images, sizes)
    if args.switches:
        report(
            'train_step_switches',
            args,
            images=args.images,
            **switches(size, crops, args))
        return
    sides = make_sides(size, crops, args)
    figures = compare(sides, args, per_round=args.images, unit='images/s')
    if args.device == 'cpu':
        for name in figures['seconds']:
            figures[f'{name}_mib'] = peak_extra_mib(sides[name])
            figures[f'{name}_products'] = product_share(sides[name])
    report('train_step', args, unit='images/s', images=args.images, **figures)


def make_sides(size: str, crops: list[Tensor],
               args: argparse.Namespace) -> dict[str, Callable]:
    """Return the steps by the names of the sides."""
    device, half = args.device, args.device == 'cuda'
    sides = dict(
        straightforward=Straightforward(
            make_model(size).to(device), crops, half),
        ours=Ours(
            make_model(size).to(device), crops,
            BF16 if half else 'PerParameterClipOptimWrapper'))
    if args.reference:
        import_authors(args.reference)
        theirs = authors.Step(size, crops, SETTINGS, device)
        sides = dict(authors=theirs, **sides)
    return sides


if __name__ == '__main__':
    options = parser(__doc__, rounds=5)
    add_reference(options)
    options.add_argument('--images', type=int, default=4, help='batch size B')
    options.add_argument(
        '--device',
        default='cpu',
        choices=['cpu', 'cuda'],
        help='device of the networks (default: cpu)')
    options.add_argument(
        '--switches',
        action='store_true',
        help='instead measure ours with each option: compiled backbones, '
        'activation checkpointing, stochastic depth, chunked last layer')
    options.add_argument(
        '--only', nargs='+', help='names of the options to measure')
    run_tool(lambda: main(parse(options)))
