"""Time loss and centre, forward and backward, on given logits.

The straightforward side computes one pair of views after the other and uses
autograd; ours is DINOLoss with MeanCentering; 'authors' is the loss of DINO's
authors.

    python tools/benchmarks/loss.py --reference CHECKOUT --images 2 8 32
"""
import argparse
from typing import Any

import authors
import torch
import torch.nn.functional as F
from side_by_side import (add_reference, compare, import_authors, parse,
                          parser, peak_extra_mib, report)
from torch import Tensor

from mmdino.models import DINOLoss, MeanCentering
from mmdino.utils.tool import run_tool

VIEWS, TEACHER_VIEWS = 10, 2
STUDENT_TEMP, TEACHER_TEMP, MOMENTUM = .1, .04, .9
Result = tuple[Tensor, Tensor, Tensor]


def make_logits(images: int, prototypes: int) -> tuple[Tensor, Tensor]:
    """Return student logits (V, B, K) and teacher logits (T, B, K).

    Those of the student require a gradient.
    """
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(views, images, prototypes, generator=generator) * .3
        for views in (VIEWS, TEACHER_VIEWS))
    return student.requires_grad_(), teacher


def straightforward(student: Tensor, teacher: Tensor,
                    center: Tensor) -> Result:
    """Compute loss, gradient (V, B, K) and new centre (1, K), pair by pair."""
    student.grad = None
    loss, pairs = 0., 0
    # Views are separated once: indexing them in each pair would make autograd
    # build a gradient of all views each time.
    views = (student / STUDENT_TEMP).unbind()
    for t, logits in enumerate(teacher):
        targets = F.softmax((logits - center) / TEACHER_TEMP, dim=-1)
        for s, view in enumerate(views):
            if s != t:
                log_probs = F.log_softmax(view, dim=-1)
                loss = loss + torch.sum(-targets * log_probs, dim=-1).mean()
                pairs += 1
    loss = loss / pairs
    loss.backward()
    mean = teacher.flatten(0, 1).mean(0, keepdim=True)
    center = MOMENTUM * center + (1 - MOMENTUM) * mean
    return loss.detach(), student.grad, center


def ours(student: Tensor, teacher: Tensor, center: Tensor) -> Result:
    """Compute the same with mmdino's modules."""
    student.grad = None
    centering = MeanCentering(center.shape[-1], MOMENTUM).to(center.dtype)
    centering.center.copy_(center)
    centering.temperature = TEACHER_TEMP
    loss = DINOLoss(STUDENT_TEMP)(student, centering(teacher))
    loss.backward()
    centering.update()
    return loss.detach(), student.grad, centering.center


def measure(images: int, prototypes: int,
            args: argparse.Namespace) -> dict[str, Any]:
    """Measure time and memory of all sides for a batch."""
    student, teacher = make_logits(images, prototypes)
    center = torch.zeros(1, prototypes)
    sides = dict(
        straightforward=lambda: straightforward(student, teacher, center),
        ours=lambda: ours(student, teacher, center))
    if args.reference:
        theirs = authors.loss(student, teacher, (STUDENT_TEMP, TEACHER_TEMP),
                              MOMENTUM)
        sides = dict(authors=theirs, **sides)
    print(f'{images} images', flush=True)
    figures = compare(sides, args)
    for name in figures['seconds']:
        student.grad = None
        figures[f'{name}_mib'] = peak_extra_mib(sides[name])
    return figures


def main(args: argparse.Namespace) -> None:
    if args.quick:
        args.images, args.prototypes = args.images[:1], args.prototypes // 8
    if args.reference:
        import_authors(args.reference)
    for images in args.images:
        report(
            'loss',
            args,
            unit='s',
            views=VIEWS,
            teacher_views=TEACHER_VIEWS,
            images=images,
            prototypes=args.prototypes,
            **measure(images, args.prototypes, args))


if __name__ == '__main__':
    options = parser(__doc__)
    add_reference(options)
    options.add_argument(
        '--images', type=int, nargs='+', default=[16], help='batch sizes B')
    options.add_argument(
        '--prototypes', type=int, default=65536, help='number of prototypes K')
    run_tool(lambda: main(parse(options)))
