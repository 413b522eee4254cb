"""Time k-NN with k = 10, 20, 100, 200 on random features.

As the code of DINO's authors, the straightforward side takes a hundredth of
the queries at a time and, for each k again, computes all their similarities
and a one-hot vector for each neighbour. Ours is knn_predict, which reads the
gallery once, in blocks, and, if faiss is installed, the same with faiss.

    python tools/benchmarks/knn.py --reference CHECKOUT
"""
import argparse
from importlib.util import find_spec

import authors
import torch
import torch.nn.functional as F
from side_by_side import (add_reference, compare, import_authors, parse,
                          parser, peak_extra_mib, report)
from torch import Tensor

from mmdino.functional.knn import knn_predict
from mmdino.utils.tool import run_tool

KS, TEMPERATURE, CHUNKS = (10, 20, 100, 200), .07, 100
CLASSES, WIDTH = 1000, 384


def make_features(queries: int, gallery: int) -> dict[str, Tensor]:
    """Return random unit vectors around the centres of classes."""
    generator = torch.Generator().manual_seed(0)
    centers = torch.randn(CLASSES, WIDTH, generator=generator)
    labels = torch.randint(CLASSES, (gallery, ), generator=generator)
    wanted = torch.randint(CLASSES, (queries, ), generator=generator)
    gallery, queries = (
        centers[index] +
        2 * torch.randn(len(index), WIDTH, generator=generator)
        for index in (labels, wanted))
    return dict(
        queries=F.normalize(queries, dim=1),
        gallery=F.normalize(gallery, dim=1),
        labels=labels)


def straightforward(queries: Tensor,
                    gallery: Tensor,
                    labels: Tensor,
                    chunks: int = CHUNKS) -> dict[int, Tensor]:
    """Compute the class (Q,) with the most votes, for each k."""
    columns = gallery.t()
    size = max(1, len(queries) // chunks)
    return {
        k:
        torch.cat([
            vote(chunk @ columns, labels, k) for chunk in queries.split(size)
        ])
        for k in KS
    }


def vote(similarities: Tensor, labels: Tensor, k: int) -> Tensor:
    nearest, places = similarities.topk(k, dim=1)
    one_hot = torch.zeros(*places.shape, CLASSES)
    one_hot.scatter_(2, labels[places][..., None], 1.)
    weights = (nearest / TEMPERATURE).exp()
    votes = (one_hot * weights[..., None]).sum(1)
    return votes.sort(dim=1, descending=True).indices[:, 0]


def ours(queries: Tensor,
         gallery: Tensor,
         labels: Tensor,
         backend: str = 'torch') -> dict[int, Tensor]:
    """Compute the same with mmdino's function."""
    predictions = knn_predict(
        queries, gallery, labels, KS, TEMPERATURE, backend=backend)
    return {k: found.classes[:, 0] for k, found in predictions.items()}


def main(args: argparse.Namespace) -> None:
    sizes = (200, 5000) if args.quick else (args.queries, args.gallery)
    features = make_features(*sizes)
    sides = dict(straightforward=lambda: straightforward(**features))
    if args.reference:
        import_authors(args.reference)
        sides['authors'] = authors.knn(
            **features, ks=KS, temperature=TEMPERATURE, num_classes=CLASSES)
    if find_spec('faiss'):
        sides['faiss'] = lambda: ours(**features, backend='faiss')
    sides['ours'] = lambda: ours(**features)
    figures = compare(sides, args, warm_up=args.quick)
    report(
        'knn',
        args,
        unit='s',
        queries=sizes[0],
        gallery=sizes[1],
        width=WIDTH,
        **figures,
        straightforward_mib=chunk_mib(**features),
        ours_mib=peak_extra_mib(lambda: ours(**features)))


def chunk_mib(queries: Tensor, gallery: Tensor,
              labels: Tensor) -> float | None:
    """Measure the extra memory of one chunk in MiB; others need no more."""
    chunk = queries[:max(1, len(queries) // CHUNKS)]
    return peak_extra_mib(
        lambda: straightforward(chunk, gallery, labels, chunks=1))


if __name__ == '__main__':
    options = parser(__doc__, rounds=5)
    add_reference(options)
    options.add_argument(
        '--queries', type=int, default=4000, help='number of queries')
    options.add_argument(
        '--gallery', type=int, default=100000, help='size of the gallery')
    run_tool(lambda: main(parse(options)))
