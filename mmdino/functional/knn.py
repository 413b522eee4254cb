"""Weighted nearest-neighbour classification of features.

Wu et al. 2018 (arXiv 1805.01978, section 3.4) with the settings of DINO
(arXiv 2104.14294, section 4): cosine similarity s, votes exp(s / 0.07).

Letters: Q queries, G gallery images, D features, C classes, k neighbours.
"""
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from threadpoolctl import threadpool_info
from torch import Tensor

from mmdino.functional.finite import require_finite

_LOW = 0xffffffff


class KNNPrediction(NamedTuple):
    """The classes with the most votes, best first, and their shares."""
    classes: Tensor  # (Q, R) labels; -1 where fewer than R classes got votes
    shares: Tensor  # (Q, R) fractions of the sum of all votes


def knn_predict(queries: Tensor,
                gallery: Tensor,
                labels: Tensor,
                ks: Sequence[int] = (10, 20, 100, 200),
                temperature: float = 0.07,
                num_ranks: int = 5,
                **blocks) -> dict[int, KNNPrediction]:
    """Classify the queries by the votes of their k nearest gallery images.

    The similarities are computed once for all k. A k larger than the gallery
    takes the whole gallery. Where two classes have equal votes, the smaller
    label comes first.

    Args:
        queries: Features (Q, D), normalised here.
        gallery: Features (G, D), normalised here.
        labels: (G,) labels of the gallery, integers from 0; gaps are allowed.
        ks: Numbers of neighbours.
        temperature: Temperature of the votes exp(s / temperature).
        num_ranks: R, how many classes to return; at most the number of
            classes.
        **blocks: Further arguments of :func:`nearest_neighbours`.

    Returns:
        The prediction for each k, on the CPU.

    Raises:
        ValueError: If a k or the temperature is not positive, the gallery is
            empty, there are more or fewer labels than gallery images, or
            :func:`nearest_neighbours` refuses the features.
    """
    if not ks or min(ks) < 1:
        raise ValueError('k-NN needs one or more k, each at least 1, got '
                         f'{list(ks)}.')
    if not temperature > 0:
        raise ValueError(f'temperature must be positive, got {temperature}.')
    if not len(gallery):
        raise ValueError('The gallery is empty: k-NN needs gallery images to '
                         'compare the queries with.')
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

    Args:
        similarities: (Q, k) cosine similarities of the neighbours, falling.
        places: (Q, k) indices of the neighbours in the gallery.
        labels: (G,) labels of the gallery.
        ks: See :func:`knn_predict`, as for the other arguments.
        temperature: See :func:`knn_predict`.
        num_ranks: See :func:`knn_predict`.

    Returns:
        The prediction for each k, on the CPU.
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

    The similarities are computed block by block, so that memory holds the
    features, k candidates per query and ``query_block`` x ``gallery_block``
    similarities. Each gallery block is moved to the device once. Equal
    similarities are ordered by the place in the gallery, whatever the block
    sizes.

    Args:
        queries: Features (Q, D).
        gallery: Features (G, D).
        k: Number of neighbours; at most G are returned.
        query_block: Queries compared at once.
        gallery_block: Gallery images compared at once.
        device: Device of the comparison; by default that of the queries.
        progress: Wraps the range of gallery blocks, e.g. to log time left.
        backend: 'torch', or 'faiss', which is faster on CPUs that its
            OpenBLAS knows, and warns on others. faiss compares all pairs in
            float32 as well, on the CPU and without the block sizes, ``device``
            and ``progress`` above. It sums in another order: similarities may
            differ in the last digit, and of gallery images with equal
            similarity to a query others may be among the k.

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
    """Do what :func:`nearest_neighbours` does with faiss, on the CPU."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError("backend='faiss' needs faiss: pip install "
                          "'mmdino[faiss]'") from error
    _warn_of_unknown_processor()
    faiss.omp_set_num_threads(torch.get_num_threads())
    rows = (
        F.normalize(part.cpu().float(), dim=1).numpy()
        for part in (queries, gallery))
    values, places = faiss.knn(*rows, k, metric=faiss.METRIC_INNER_PRODUCT)
    return merge_neighbours(
        torch.from_numpy(values), torch.from_numpy(places), k)


def _warn_of_unknown_processor() -> None:
    """Warn if the OpenBLAS in faiss-cpu uses its kernels for any processor.

    These are called Prescott, have no AVX, and make faiss slower than the
    blocks of the backend 'torch'.
    """
    for library in threadpool_info():
        if ('faiss' in library['filepath']
                and library.get('architecture') == 'Prescott'):
            warnings.warn(
                f'faiss brings OpenBLAS {library["version"]}, which does not '
                'know this processor and computes without AVX: '
                "backend='torch' is faster here. If the processor has AVX2, "
                'OPENBLAS_CORETYPE=Haswell in the environment makes faiss '
                'the faster one.')


def merge_neighbours(similarities: Tensor, places: Tensor,
                     k: int) -> tuple[Tensor, Tensor]:
    """Keep the k best of neighbours found in several parts of a gallery.

    Args:
        similarities: (Q, n) float32, in any order.
        places: (Q, n) indices in the whole gallery, different within a row.
        k: How many to keep, at most n.

    Returns:
        Similarities and places, both (Q, k), by falling similarity; equal
        ones by place.
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
        similarities: (Q, k) cosine similarities of the neighbours, falling.
        labels: (Q, k) labels of the neighbours, in [0, C).
        num_classes: Number of classes C.
        ks: See :func:`knn_predict`, as for the next two.
        temperature: See :func:`knn_predict`.
        num_ranks: See :func:`knn_predict`.
        query_block: Queries whose C votes are held in memory at once.

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
        num_classes: Number of classes C. With 5 or fewer, top-5 accuracy says
            nothing and is left out.

    Returns:
        ``top1`` and, with more than 5 classes, ``top5``, in percent.
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
        require_finite(features, f'{name} features')


def _merge(best: Tensor, values: Tensor, k: int, first: int) -> Tensor:
    """Return the keys (Q, k) of the best of two sets of gallery images.

    Args:
        best: Keys (Q, k or fewer) of the best of the blocks so far.
        values: Similarities (Q, n) of the next block of the gallery.
        k: How many to keep.
        first: Place in the gallery of the block's first image.
    """
    if best.shape[1] < k:
        keys = _top_keys(values, k, first)
    else:
        # Images of this block come later in the gallery than those in best,
        # so an equal similarity does not replace one of them.
        above = values > _from_keys(best[:, -1:])[0]
        many = above.count_nonzero() >= best.numel()
        keys = _top_keys(values, k, first) if many else _keys_where(
            above, values, first)
    keys = torch.cat([best, keys], dim=1)
    return keys.topk(min(k, keys.shape[1]), dim=1).values


def _keys_where(mask: Tensor, values: Tensor, first: int) -> Tensor:
    """Return the keys of the values where the mask is set, row by row.

    After the first blocks of a gallery, few of thousands of values are set;
    this finds them in a fraction of the time of ``topk``. Rows with fewer
    values than others are padded with the lowest key.

    Args:
        mask: (Q, n) bool.
        values: (Q, n).
        first: Place in the gallery of the first column.
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
    """Return the keys of the k largest values of each row, falling.

    Equal values are ordered by place. ``torch.topk`` chooses among equal
    values arbitrarily, which matters only in rows where the k-th largest
    value occurs again among those left out: those rows are sorted by key.

    Args:
        values: (Q, n) float32.
        k: At most n keys are returned.
        first: Place in the gallery of the first column.
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
    """Return int64 keys that sort by value, then by earlier place.

    The bits of float32 numbers sort as signed integers once the lower 31 bits
    of negative numbers are inverted. They become the high half of the key;
    the place, counted downwards, becomes the low half.
    """
    bits = (values + 0.).view(torch.int32)  # + 0. makes -0. equal to 0.
    bits = bits ^ ((bits >> 31) & 0x7fffffff)
    return (bits.long() << 32) + (_LOW - places)


def _from_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the values and places that :func:`_to_keys` encoded."""
    bits = (keys >> 32).int()
    bits = bits ^ ((bits >> 31) & 0x7fffffff)
    return bits.view(torch.float32), _LOW - (keys & _LOW)
