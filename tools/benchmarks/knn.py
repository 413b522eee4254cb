"""k-NN with k = 10, 20, 100, 200 on random features.

The straightforward side takes 100 queries at a time and, for each k anew,
all their similarities, as the authors' code does; ours is knn_predict, which
visits the gallery once, in blocks.

    python tools/benchmarks/knn.py --queries 2000     # minutes; all: hours
"""
import argparse
from typing import Callable, Dict, Optional

import torch
import torch.nn.functional as F
from side_by_side import compare, parse, parser, peak_extra_mib, report
from torch import Tensor

from mmdino.evaluation.functional import knn_predict

KS, TEMPERATURE, CHUNK = (10, 20, 100, 200), .07, 100
CLASSES, WIDTH = 1000, 384


def make_features(queries: int, gallery: int) -> Dict[str, Tensor]:
    """Unit vectors around the centres of their classes."""
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


def straightforward(queries: Tensor, gallery: Tensor,
                    labels: Tensor) -> Dict[int, Tensor]:
    """The class (Q, ) with the most votes for each k."""
    columns = gallery.t()
    return {
        k:
        torch.cat([
            vote(chunk @ columns, labels, k) for chunk in queries.split(CHUNK)
        ])
        for k in KS
    }


def vote(similarities: Tensor, labels: Tensor, k: int) -> Tensor:
    nearest, places = similarities.topk(k, dim=1)
    one_hot = F.one_hot(labels[places], CLASSES)
    weights = (nearest / TEMPERATURE).exp()
    votes = (one_hot * weights[..., None]).sum(1)
    return votes.sort(dim=1, descending=True).indices[:, 0]


def ours(queries: Tensor, gallery: Tensor,
         labels: Tensor) -> Dict[int, Tensor]:
    """The same with mmdino's function."""
    predictions = knn_predict(queries, gallery, labels, KS, TEMPERATURE)
    return {k: found.classes[:, 0] for k, found in predictions.items()}


def main(args: argparse.Namespace) -> None:
    sizes = (200, 5000) if args.quick else (args.queries, args.gallery)
    features = make_features(*sizes)
    figures = compare(
        lambda: straightforward(**features),
        lambda: ours(**features),
        args,
        warm_up=args.quick)
    report(
        'knn',
        unit='s',
        queries=sizes[0],
        gallery=sizes[1],
        width=WIDTH,
        **figures,
        straightforward_mib=peak_of(straightforward, features, 2 * CHUNK),
        ours_mib=peak_of(ours, features, 2048))


def peak_of(side: Callable, features: Dict[str, Tensor],
            queries: int) -> Optional[float]:
    """Extra memory in MiB for the first queries: the rest need no more."""
    few = dict(features, queries=features['queries'][:queries])
    return peak_extra_mib(lambda: side(**few))


if __name__ == '__main__':
    options = parser(__doc__, rounds=1)
    options.add_argument('--queries', type=int, default=50000)
    options.add_argument('--gallery', type=int, default=200000)
    main(parse(options))
