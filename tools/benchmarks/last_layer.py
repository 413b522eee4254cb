"""Time the last layer with the loss, forward and backward, in chunks or whole.

Both sides are mmdino's DINO, with and without ``images_per_chunk``.

    python tools/benchmarks/last_layer.py --images 8 16 32 64
"""
import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from loss import STUDENT_TEMP, TEACHER_VIEWS, VIEWS
from side_by_side import compare, parse, parser, peak_extra_mib, report
from torch import Tensor

from mmdino.functional.losses import chunked_cross_entropy, dino_cross_entropy
from mmdino.utils.tool import run_tool

BOTTLENECK = 256


def make_sides(images: int, prototypes: int,
               per_chunk: int) -> tuple[Callable, Callable]:
    """Return the whole and the chunked side, which return loss and gradients.
    """
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    vectors = F.normalize(normal(VIEWS, images, BOTTLENECK), dim=-1)
    weight = F.normalize(normal(prototypes, BOTTLENECK), dim=-1)
    targets = normal(TEACHER_VIEWS, images, prototypes).softmax(-1)
    inputs = vectors.requires_grad_(), weight.requires_grad_()

    def with_gradients(loss: Tensor) -> tuple[Tensor, ...]:
        return loss.detach(), *torch.autograd.grad(loss, inputs)

    return (lambda: with_gradients(
        dino_cross_entropy(vectors @ weight.t(), targets, STUDENT_TEMP)),
            lambda: with_gradients(
                chunked_cross_entropy(vectors, weight, targets, STUDENT_TEMP,
                                      per_chunk)))


def measure(images: int, args: argparse.Namespace) -> dict[str, float]:
    """Measure median times and extra memory of both sides for a batch."""
    whole, chunked = make_sides(images, args.prototypes, args.per_chunk)
    print(f'{images} images', flush=True)
    figures = compare(dict(whole=whole, ours=chunked), args)
    return dict(
        whole=figures['whole'],
        chunked=figures['ours'],
        ratio=figures['ratio']['whole'],
        whole_mib=peak_extra_mib(whole),
        chunked_mib=peak_extra_mib(chunked))


def main(args: argparse.Namespace) -> None:
    if args.quick:
        args.images, args.prototypes = args.images[:1], args.prototypes // 8
    batches = {images: measure(images, args) for images in args.images}
    report(
        'last_layer',
        args,
        unit='s',
        prototypes=args.prototypes,
        images_per_chunk=args.per_chunk,
        ratio=min(row['ratio'] for row in batches.values()),
        batches=batches)


if __name__ == '__main__':
    options = parser(__doc__)
    options.add_argument(
        '--images',
        type=int,
        nargs='+',
        default=[8, 16, 24, 32, 64],
        help='batch sizes B')
    options.add_argument(
        '--prototypes', type=int, default=65536, help='number of prototypes K')
    options.add_argument(
        '--per-chunk', type=int, default=8, help='number of images in a chunk')
    run_tool(lambda: main(parse(options)))
