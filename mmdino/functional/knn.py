"""Weighted nearest-neighbour classification of features.

Wu et al. 2018 (arXiv 1805.01978, section 3.4) with the settings of DINO
(arXiv 2104.14294, section 4): cosine similarity s, votes exp(s / 0.07).

Letters: Q queries, G gallery images, D features, C classes, k neighbours.
"""
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_LOW = 0xffffffff


class KNNPrediction(NamedTuple):
    """The classes with the most votes, best first, and their shares."""
    classes: Tensor  # (Q, R) labels; -1 where fewer than R classes got votes
    shares: Tensor  # (Q, R) of all votes, fractions


def knn_predict(queries: Tensor,
                gallery: Tensor,
                labels: Tensor,
                ks: Sequence[int] = (10, 20, 100, 200),
                temperature: float = 0.07,
                num_ranks: int = 5,
                **blocks) -> dict[int, KNNPrediction]:
    """Classify the queries by the votes of their k nearest gallery images.

    All k share one pass over the similarities. A k beyond the gallery means
    the whole gallery; equal votes go to the smaller label.

    Args:
        queries, gallery: Features (Q, D) and (G, D), normalised here.
        labels: (G,) of the gallery: any integers from 0, with gaps or not.
        ks: Numbers of neighbours.
        temperature: Of the votes exp(s / temperature).
        num_ranks: R, classes returned, cut to their number.
        **blocks: Those of :func:`nearest_neighbours`.

    Returns:
        The prediction for each k, on the CPU.
    """
    if not ks or min(ks) < 1:
        raise ValueError(f'k-NN needs k of at least 1, got {list(ks)}.')
    if not temperature > 0:
        raise ValueError(f'temperature must be positive, got {temperature}.')
    if not len(gallery):
        raise ValueError('The gallery is empty: k-NN has nothing to vote.')
    if len(labels) != len(gallery):
        raise ValueError(f'The gallery has {len(gallery)} features but '
                         f'{len(labels)} labels.')
    similarities, places = nearest_neighbours(queries, gallery, max(ks),
                                              **blocks)
    return vote(similarities, places, labels, ks, temperature, num_ranks)


def vote(similarities: Tensor,
         places: Tensor,
         labels: Tensor,
         ks: Sequence[int],
         temperature: float = 0.07,
         num_ranks: int = 5) -> dict[int, KNNPrediction]:
    """Classify queries whose nearest neighbours are known already.

    The neighbours are given by their similarities (Q, k), in falling order,
    and their indices in the gallery; all else is as for :func:`knn_predict`.
    """
    names, compact = labels.cpu().unique(return_inverse=True)
    votes = weighted_vote(similarities, compact[places], len(names), ks,
                          temperature, num_ranks)
    return {
        k: KNNPrediction(torch.where(shares > 0, names[classes], -1), shares)
        for k, (classes, shares) in votes.items()
    }


@torch.no_grad()
def nearest_neighbours(queries: Tensor,
                       gallery: Tensor,
                       k: int,
                       query_block: int = 1024,
                       gallery_block: int = 16384,
                       device: str | torch.device | None = None,
                       progress: Callable[[range], Iterable[int]] = iter,
                       backend: str = 'torch') -> tuple[Tensor, Tensor]:
    """Find the k gallery images of largest cosine similarity to each query.

    Similarities exist one block at a time, so that memory holds the features,
    k candidates a query and ``query_block`` x ``gallery_block`` numbers. Each
    gallery block goes to the device once. Equal similarities are ordered by
    the place in the gallery, whatever the block sizes.

    Args:
        queries, gallery: Features (Q, D) and (G, D).
        k: Number of neighbours, cut to G.
        query_block, gallery_block: Images of each compared at once.
        device: Where to compare; by default where the queries are.
        progress: Wraps the range of gallery blocks, e.g. to log time left.
        backend: 'torch', or 'faiss', which is faster on CPUs: its flat index
            compares all pairs in float32, too, in an order of its own, so
            that a last digit may differ and equal similarities at the end of
            the k may be others of the same value.

    Returns:
        Similarities (Q, k) in falling order, float32, and places in the
        gallery (Q, k), both on the CPU.

    Raises:
        ImportError: If faiss is asked for and not installed.
        ValueError: If there is no such backend, or features are not (Q, D)
            and (G, D) or not finite.
    """
    _check_features(queries, gallery)
    if backend == 'faiss':
        return _by_faiss(queries, gallery, min(k, len(gallery)))
    if backend != 'torch':
        raise ValueError(
            f"backend must be 'torch' or 'faiss', got {backend!r}")
    device = device or queries.device
    k = min(k, len(gallery))
    query_blocks = F.normalize(
        queries.to(device, torch.float32), dim=1).split(query_block)
    best = [q.new_empty((len(q), 0), dtype=torch.int64) for q in query_blocks]
    for start in progress(range(0, len(gallery), gallery_block)):
        block = gallery[start:start + gallery_block]
        block = F.normalize(block.to(device, torch.float32), dim=1).t()
        for i, query in enumerate(query_blocks):
            best[i] = _merge(best[i], query @ block, k, start)
    return _from_keys(torch.cat(best).cpu())


def _by_faiss(queries: Tensor, gallery: Tensor,
              k: int) -> tuple[Tensor, Tensor]:
    """As :func:`nearest_neighbours`, by the flat index of faiss, on CPUs."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError("backend='faiss' needs faiss: pip install "
                          "'mmdino[faiss]'") from error
    faiss.omp_set_num_threads(torch.get_num_threads())
    rows = (
        F.normalize(part.cpu().float(), dim=1).numpy()
        for part in (queries, gallery))
    values, places = faiss.knn(*rows, k, metric=faiss.METRIC_INNER_PRODUCT)
    return merge_neighbours(
        torch.from_numpy(values), torch.from_numpy(places), k)


def merge_neighbours(similarities: Tensor, places: Tensor,
                     k: int) -> tuple[Tensor, Tensor]:
    """Keep the k best of neighbours found in several parts of a gallery.

    Args:
        similarities: (Q, n) float32, in any order.
        places: (Q, n) in the whole gallery, no two alike in a row.
        k: How many to keep, at most n.

    Returns:
        Both (Q, k), by falling similarity, ties by place.
    """
    return _from_keys(_to_keys(similarities, places).topk(k, dim=1).values)


@torch.no_grad()
def weighted_vote(similarities: Tensor,
                  labels: Tensor,
                  num_classes: int,
                  ks: Sequence[int],
                  temperature: float = 0.07,
                  num_ranks: int = 5,
                  query_block: int = 1024) -> dict[int, KNNPrediction]:
    """Rank the classes by the sum of the votes exp(s / temperature).

    Args:
        similarities: (Q, k) of the neighbours, falling.
        labels: (Q, k) of the neighbours, in [0, C).
        num_classes: C.
        ks, temperature, num_ranks: As for :func:`knn_predict`.
        query_block: Queries whose (C,) votes exist at once.

    Returns:
        The prediction for each k; classes without a vote have share 0.
    """
    num_ranks = min(num_ranks, num_classes)
    parts: dict[int, list] = {k: [] for k in sorted(set(ks))}
    for near, label in zip(
            similarities.split(query_block), labels.split(query_block)):
        # The common factor exp(-s_max / T) guards against overflow.
        weights = ((near - near[:, :1]).double() / temperature).exp()
        votes = weights.new_zeros((len(near), num_classes))
        counted = 0
        for k, part in parts.items():
            fresh = slice(counted, k)
            votes.scatter_add_(1, label[:, fresh], weights[:, fresh])
            shares = votes / votes.sum(dim=1, keepdim=True)
            ranked = _from_keys(_top_keys(shares.float(), num_ranks))
            part.append(ranked[::-1])
            counted = k
    return {
        k: KNNPrediction(*map(torch.cat, zip(*part)))
        for k, part in parts.items()
    }


def top_accuracy(ranked: Tensor, truth: Tensor,
                 num_classes: int) -> dict[str, float]:
    """Compute top-1 and top-5 accuracy, in percent.

    Args:
        ranked: (Q, R) classes, the most likely first.
        truth: (Q,) right classes.
        num_classes: C. Up to 5, top-5 would say nothing and is left out.

    Returns:
        Percent by ``top1`` and ``top5``.
    """
    hits = ranked == truth[:, None]
    return {
        f'top{n}': 100. * hits[:, :n].any(dim=1).double().mean().item()
        for n in ((1, 5) if num_classes > 5 else (1, ))
    }


def _check_features(queries: Tensor, gallery: Tensor) -> None:
    if queries.shape[1:] != gallery.shape[1:] or queries.ndim != 2:
        raise ValueError('Queries and gallery must be (Q, D) and (G, D), got '
                         f'{tuple(queries.shape)} and {tuple(gallery.shape)}.')
    for name, features in (('query', queries), ('gallery', gallery)):
        # Through the sums: isfinite of the whole would copy the features.
        bad = int((~features.sum(dim=1).isfinite()).sum())
        if bad:
            raise ValueError(
                f'{bad} of {len(features)} {name} features are not finite: '
                'the network has diverged or the image is broken.')


def _merge(best: Tensor, values: Tensor, k: int, first: int) -> Tensor:
    """Keys (Q, k) of the best so far and of a block (Q, n) that follows."""
    if best.shape[1] < k:
        keys = _top_keys(values, k, first)
    else:
        # Equal ones come later in the gallery, so they stay behind.
        above = values > _from_keys(best[:, -1:])[0]
        many = above.count_nonzero() >= best.numel()
        keys = _top_keys(values, k, first) if many else _keys_where(
            above, values, first)
    keys = torch.cat([best, keys], dim=1)
    return keys.topk(min(k, keys.shape[1]), dim=1).values


def _keys_where(mask: Tensor, values: Tensor, first: int) -> Tensor:
    """Keys of the chosen values of each row, filled up with the lowest.

    After the first blocks of a gallery that is a few of thousands, which are
    found in a fraction of the time of ``topk``. Mask and values are (Q, n),
    ``first`` is the place of the first column.
    """
    rows, columns = mask.nonzero(as_tuple=True)
    counts = rows.bincount(minlength=len(mask))
    ends = counts.cumsum(0)
    slots = torch.arange(len(rows), device=rows.device) - (ends - counts)[rows]
    keys = rows.new_full((len(mask), int(counts.max())),
                         torch.iinfo(torch.int64).min)
    keys[rows, slots] = _to_keys(values[rows, columns], columns + first)
    return keys


def _top_keys(values: Tensor, k: int, first: int = 0) -> Tensor:
    """Keys of the k largest of each row, falling, ties by place.

    ``torch.topk`` breaks ties arbitrarily. That matters where the last value
    taken was left out elsewhere, so only such rows are sorted by their keys.

    The values are (Q, n) float32, k is cut to n, and ``first`` is the place
    of the first column.
    """
    k = min(k, values.shape[1])
    top, places = values.topk(k, dim=1)
    keys = _to_keys(top, places + first)
    tied = (values >= top[:, -1:]).sum(dim=1) > k
    if tied.any():
        every = torch.arange(values.shape[1], device=values.device) + first
        keys[tied] = _to_keys(values[tied], every).topk(k, dim=1).values
    return keys.sort(dim=1, descending=True).values


def _to_keys(values: Tensor, places: Tensor) -> Tensor:
    """Integers that sort as (value, earlier place first).

    The bits of a float32, with those of negative numbers turned over, sort as
    signed integers; they become the high half of an int64 and the place,
    counted downwards, the low half.
    """
    bits = (values + 0.).view(torch.int32)  # + 0. makes -0. equal to 0.
    bits = bits ^ ((bits >> 31) & 0x7fffffff)
    return (bits.long() << 32) + (_LOW - places)


def _from_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Values and places of :func:`_to_keys`."""
    bits = (keys >> 32).int()
    bits = bits ^ ((bits >> 31) & 0x7fffffff)
    return bits.view(torch.float32), _LOW - (keys & _LOW)
