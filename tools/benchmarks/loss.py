"""Loss and centre, forward and backward, on given logits.

The straightforward side compares one pair of views after the other and lets
autograd differentiate; ours is DINOLoss with MeanCentering.

    python tools/benchmarks/loss.py
"""
import argparse
from typing import Tuple

import torch
import torch.nn.functional as F
from side_by_side import compare, parse, parser, peak_extra_mib, report
from torch import Tensor

from mmdino.models import DINOLoss, MeanCentering

VIEWS, TEACHER_VIEWS = 10, 2
STUDENT_TEMP, TEACHER_TEMP, MOMENTUM = .1, .04, .9
Result = Tuple[Tensor, Tensor, Tensor]


def make_logits(images: int, prototypes: int) -> Tuple[Tensor, Tensor]:
    """Student (V, B, K) that asks for a gradient, and teacher (T, B, K)."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = (
        torch.randn(views, images, prototypes, generator=generator) * .3
        for views in (VIEWS, TEACHER_VIEWS))
    return student.requires_grad_(), teacher


def straightforward(student: Tensor, teacher: Tensor,
                    center: Tensor) -> Result:
    """Loss, gradient (V, B, K) and new centre (1, K), pair by pair."""
    student.grad = None
    loss, pairs = 0., 0
    for t in range(TEACHER_VIEWS):
        targets = F.softmax((teacher[t] - center) / TEACHER_TEMP, dim=-1)
        for s in range(VIEWS):
            if s != t:
                log_probs = F.log_softmax(student[s] / STUDENT_TEMP, dim=-1)
                loss = loss + torch.sum(-targets * log_probs, dim=-1).mean()
                pairs += 1
    loss = loss / pairs
    loss.backward()
    mean = teacher.flatten(0, 1).mean(0, keepdim=True)
    center = MOMENTUM * center + (1 - MOMENTUM) * mean
    return loss.detach(), student.grad, center


def ours(student: Tensor, teacher: Tensor, center: Tensor) -> Result:
    """The same with mmdino's modules."""
    student.grad = None
    centering = MeanCentering(center.shape[-1], MOMENTUM).to(center.dtype)
    centering.center.copy_(center)
    centering.temperature = TEACHER_TEMP
    loss = DINOLoss(STUDENT_TEMP)(student, centering(teacher))
    loss.backward()
    centering.update()
    return loss.detach(), student.grad, centering.center


def main(args: argparse.Namespace) -> None:
    prototypes = args.prototypes // 8 if args.quick else args.prototypes
    student, teacher = make_logits(args.images, prototypes)
    inputs = student, teacher, torch.zeros(1, prototypes)
    figures = compare(lambda: straightforward(*inputs), lambda: ours(*inputs),
                      args)
    student.grad = None
    figures['straightforward_mib'] = peak_extra_mib(
        lambda: straightforward(*inputs))
    student.grad = None
    figures['ours_mib'] = peak_extra_mib(lambda: ours(*inputs))
    report(
        'loss',
        unit='s',
        views=VIEWS,
        teacher_views=TEACHER_VIEWS,
        images=args.images,
        prototypes=prototypes,
        **figures)


if __name__ == '__main__':
    options = parser(__doc__)
    options.add_argument('--images', type=int, default=16)
    options.add_argument('--prototypes', type=int, default=65536)
    main(parse(options))
