"""Time label propagation to one frame of a video, as for DAVIS.

The features are given. The code of DINO's authors compares all pairs of
patches and drops those that are far from each other; ours, propagate_labels,
works in tiles. There is no straightforward side. A frame of 480 x 832 px has
60 x 104 patches of a ViT-S/8.

    python tools/benchmarks/propagation.py --reference CHECKOUT
"""
import argparse

import authors
import torch
import torch.nn.functional as F
from side_by_side import (add_reference, compare, import_authors, parse,
                          parser, peak_extra_mib, report)
from torch import Tensor

from mmdino.functional.label_propagation import propagate_labels
from mmdino.utils.tool import run_tool

SOURCES, RADIUS, TOPK, CLASSES, WIDTH = 8, 12, 5, 4, 384


def make_frames(grid: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return unit features (h, w, D) and (S, h, w, D), and soft labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (SOURCES + 1, *grid, WIDTH)
    frames = F.normalize(torch.randn(shape, generator=generator), dim=-1)
    labels = torch.rand(SOURCES, CLASSES, *grid, generator=generator)
    return frames[0], frames[1:], labels / labels.sum(1, keepdim=True)


def main(args: argparse.Namespace) -> None:
    grid = (12, 20) if args.quick else tuple(args.grid)
    target, sources, labels = make_frames(grid)
    sides = {}
    if args.reference:
        import_authors(args.reference)
        sides['authors'] = authors.propagation(target, sources, labels, RADIUS,
                                               TOPK)
    sides['ours'] = lambda: propagate_labels(target, sources, labels, RADIUS,
                                             TOPK)
    figures = compare(sides, args)
    for name, side in sides.items():
        figures[f'{name}_mib'] = peak_extra_mib(side)
    report('propagation', args, unit='s', grid=list(grid), **figures)


if __name__ == '__main__':
    options = parser(__doc__)
    add_reference(options)
    options.add_argument(
        '--grid',
        type=int,
        nargs=2,
        metavar=('ROWS', 'COLUMNS'),
        default=[60, 104],
        help='rows and columns of patches of a frame')
    run_tool(lambda: main(parse(options)))
