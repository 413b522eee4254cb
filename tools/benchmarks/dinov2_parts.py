"""Time what DINOv2 adds to a step: patch loss, Sinkhorn-Knopp, KoLeo, masks.

Patch loss with its centre and KoLeo are measured forward and backward, on
given logits and features; Sinkhorn-Knopp computes targets; masks are drawn for
a batch. The side 'authors' uses the classes and the collate function of
DINOv2's code, and the side 'straightforward' the formulas with autograd.

    python tools/benchmarks/dinov2_parts.py --reference CHECKOUT --images 8
"""
import argparse
from collections.abc import Callable
from typing import Any

import authors
import torch
import torch.nn.functional as F
from side_by_side import (add_reference, compare, import_authors, parse,
                          parser, peak_extra_mib, report)
from torch import Tensor

from mmdino.functional.losses import token_weights
from mmdino.models import (BlockMasking, IBOTLoss, KoLeoLoss, MeanCentering,
                           SinkhornKnopp)
from mmdino.utils.tool import run_tool

STUDENT_TEMP, TEACHER_TEMP, MOMENTUM = .1, .04, .9
GRID, FEATURES = (14, 14), 768  # ViT-B/16 at 224 px


def make_inputs(images: int, prototypes: int) -> dict[str, Tensor]:
    """Return masks (2 B, N), logits (M, K) and features (2, B, D).

    Logits and features require gradients.
    """
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    masks = BlockMasking()(2 * images, GRID)
    size = int(masks.sum()), prototypes
    student, teacher = (
        torch.randn(size, generator=generator) * .3 for _ in range(2))
    features = torch.randn(2, images, FEATURES, generator=generator)
    return dict(
        masks=masks,
        student=student.requires_grad_(),
        teacher=teacher,
        features=features.requires_grad_())


def with_gradient(loss: Callable[[], Tensor],
                  leaf: Tensor) -> Callable[[], tuple[Tensor, Tensor]]:
    """Return a function that computes a loss and its gradient for a leaf."""

    def call() -> tuple[Tensor, Tensor]:
        leaf.grad = None
        value = loss()
        value.backward()
        return value.detach(), leaf.grad

    return call


def straightforward(student: Tensor, teacher: Tensor, masks: Tensor,
                    features: Tensor) -> dict[str, Callable[[], Any]]:
    """Return functions for the formulas, one operation after the other."""
    weights = token_weights(masks).float()
    center = torch.zeros(1, student.shape[1])

    def patch_loss() -> Tensor:
        targets = F.softmax((teacher - center) / TEACHER_TEMP, -1)
        log_probs = F.log_softmax(student / STUDENT_TEMP, -1)
        mean = teacher.mean(0, keepdim=True)
        center.copy_(MOMENTUM * center + (1 - MOMENTUM) * mean).zero_()
        return -((targets * log_probs).sum(-1) * weights).sum()

    def koleo() -> Tensor:
        total = 0.
        for crop in features:
            unit = F.normalize(crop, dim=-1)
            others = torch.eye(len(unit)).bool()
            distances = torch.cdist(unit, unit).masked_fill(others, torch.inf)
            total = total - distances.amin(1).add(1e-8).log().mean()
        return total

    def sinkhorn() -> Tensor:
        scores = (teacher / TEACHER_TEMP).exp()
        for _ in range(3):
            scores = scores / scores.sum(0, keepdim=True)
            scores = scores / scores.sum(1, keepdim=True)
        return scores

    return dict(
        patch_loss=with_gradient(patch_loss, student),
        sinkhorn=sinkhorn,
        koleo=with_gradient(koleo, features))


def ours(student: Tensor, teacher: Tensor, masks: Tensor,
         features: Tensor) -> dict[str, Callable[[], Any]]:
    """Return the same functions with mmdino's modules."""
    weights = token_weights(masks)
    centering = MeanCentering(student.shape[1], MOMENTUM)
    guard = SinkhornKnopp(student.shape[1])
    centering.temperature = guard.temperature = TEACHER_TEMP
    loss, koleo, masking = IBOTLoss(STUDENT_TEMP), KoLeoLoss(), BlockMasking()

    def patch_loss() -> Tensor:
        value = loss(student, centering(teacher), weights)
        centering.update()
        centering.center.zero_()
        return value

    return dict(
        patch_loss=with_gradient(patch_loss, student),
        sinkhorn=lambda: guard(teacher),
        koleo=with_gradient(lambda: koleo(features), features),
        masks=lambda: masking(len(masks), GRID))


def main(args: argparse.Namespace) -> None:
    if args.quick:
        args.images, args.prototypes = args.images[:1], args.prototypes // 16
    if args.reference:
        import_authors(args.reference, 'dinov2/train/ssl_meta_arch.py')
    for images in args.images:
        inputs = make_inputs(images, args.prototypes)
        sides = dict(straightforward=straightforward(**inputs))
        if args.reference:
            temps = STUDENT_TEMP, TEACHER_TEMP
            theirs = authors.dinov2_parts(
                **inputs, temps=temps, momentum=MOMENTUM, grid=GRID)
            sides = dict(authors=theirs, **sides)
        sides['ours'] = ours(**inputs)
        for part in sides['ours']:
            measure(part, {
                n: s[part]
                for n, s in sides.items() if part in s
            }, images, args)


def measure(part: str, sides: dict[str, Callable[[], Any]], images: int,
            args: argparse.Namespace) -> None:
    """Measure time and memory of all sides of a part."""
    if len(sides) == 1:
        print(f'{part}: nothing to compare with, give --reference CHECKOUT')
        return
    print(f'{part}, {images} images', flush=True)
    figures = compare(sides, args)
    for name in figures['seconds']:
        figures[f'{name}_mib'] = peak_extra_mib(sides[name])
    report(
        f'dinov2_{part}',
        args,
        unit='s',
        images=images,
        prototypes=args.prototypes,
        **figures)


if __name__ == '__main__':
    options = parser(__doc__)
    add_reference(options)
    options.add_argument(
        '--images', type=int, nargs='+', default=[8], help='batch sizes B')
    options.add_argument(
        '--prototypes', type=int, default=65536, help='number of prototypes K')
    run_tool(lambda: main(parse(options)))
