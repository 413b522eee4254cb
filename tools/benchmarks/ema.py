"""Time the teacher's moving average for a ViT-S/16 with its head.

The straightforward side updates one parameter after the other, as a loop in
the script of DINO's authors does; ours is DINO.update_teacher.

    python tools/benchmarks/ema.py
"""
import argparse

import torch
from models import build_model
from side_by_side import compare, parse, parser, report

from mmdino.models import DINO
from mmdino.utils.tool import run_tool

MOMENTUM = .996


def lagging_model(prototypes: int) -> DINO:
    """Return a ViT-S/16 whose teacher differs from the student."""
    model = build_model('dino_vit-s16', dict(head=dict(out_dim=prototypes)))
    with torch.no_grad():
        for param in model.teacher.parameters():
            param.mul_(.5)
    return model


@torch.no_grad()
def straightforward(model: DINO) -> None:
    student = dict(model.named_parameters())
    for name, param in model.teacher.named_parameters():
        param.mul_(MOMENTUM).add_((1 - MOMENTUM) * student[name])


def ours(model: DINO) -> None:
    model.update_teacher(MOMENTUM)


def main(args: argparse.Namespace) -> None:
    model = lagging_model(4096 if args.quick else args.prototypes)
    figures = compare(
        dict(
            straightforward=lambda: straightforward(model),
            ours=lambda: ours(model)), args)
    report(
        'ema',
        args,
        unit='s',
        parameters=sum(p.numel() for p in model.teacher.parameters()),
        **figures)


if __name__ == '__main__':
    options = parser(__doc__, rounds=15)
    options.add_argument(
        '--prototypes', type=int, default=65536, help='number of prototypes K')
    run_tool(lambda: main(parse(options)))
