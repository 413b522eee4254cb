"""Average precision of rankings, with images that count neither way.

The measures of revisited Oxford and Paris (Radenovic et al. 2018,
arXiv 1803.11285) and of Copydays (Jegou et al. 2008, the Holidays package).

Letters: G gallery images, P positives of a query, Q queries.
"""
from typing import Dict, Iterable, Optional, Sequence, Tuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# what a query's annotation counts as: (positives, junk)
PROTOCOLS: Dict[str, Tuple[Tuple[str, ...], Tuple[str, ...]]] = dict(
    medium=(('easy', 'hard'), ('junk', )), hard=(('hard', ), ('junk', 'easy')))


def rank_gallery(query: Tensor, gallery: Tensor) -> np.ndarray:
    """Sort the gallery by falling cosine similarity to a query.

    Args:
        query: (D,) feature, of any length above 0.
        gallery: (G, D) features, normalised already.

    Returns:
        (G,) places in the gallery; equal similarities keep its order.
    """
    similarity = gallery @ F.normalize(query, dim=0)
    return similarity.argsort(descending=True, stable=True).cpu().numpy()


def positive_ranks(order: np.ndarray,
                   positives: Iterable[int],
                   junk: Optional[Iterable[int]] = None) -> np.ndarray:
    """Ranks of the positives in a ranking from which junk is taken out.

    Args:
        order: (G,) places in the gallery, the most similar first.
        positives: Places of the positives, P of them.
        junk: Places of images that are as if they were not there; by default
            none.

    Returns:
        (P,) ranks from 0, rising; fewer if the order lacks some.
    """
    if junk is not None:
        order = order[~np.isin(order, _integers(junk))]
    return np.flatnonzero(np.isin(order, _integers(positives)))


def average_precision(ranks: Sequence[int], num_positives: int) -> float:
    """Area under the precision-recall curve, by the trapezoid rule.

    With the j-th of the found positives (j from 0) at rank r_j the curve goes
    from precision j / r_j (1 at rank 0) to (j + 1) / (r_j + 1), over a step of
    recall of 1 / P. This is compute_ap of revisitop and
    score_ap_from_ranks_1 of the Holidays package.

    Args:
        ranks: Ranks from 0 of the positives that were found, rising.
        num_positives: P, of those that exist; what is not found adds nothing.

    Returns:
        A fraction; NaN for a query without positives.
    """
    if not num_positives:
        return float('nan')
    ranks = np.asarray(ranks, dtype=np.float64)
    found = np.arange(len(ranks))
    before = np.where(ranks > 0, found / np.maximum(ranks, 1), 1.)
    after = (found + 1) / (ranks + 1)
    return float((before + after).sum() / 2 / num_positives)


def precision_at(ranks: Sequence[int], k: int) -> float:
    """Share of positives among the first k images, as revisitop counts it.

    Where the last positive comes before place k, the images after it are not
    counted against the ranking: k becomes that place.

    Args:
        ranks: Ranks from 0 of all positives.
        k: Number of images looked at.

    Returns:
        A fraction; NaN for a query without positives.
    """
    if not len(ranks):
        return float('nan')
    places = np.asarray(ranks) + 1
    k = min(int(places.max()), k)
    return float((places <= k).sum() / k)


def score_query(order: np.ndarray, annotation: Dict[str, Sequence[int]],
                ks: Sequence[int]) -> Dict[str, float]:
    """Score a ranking by each protocol of revisited Oxford and Paris.

    Args:
        order: (G,) places in the gallery, the most similar first.
        annotation: Places of the ``easy``, ``hard`` and ``junk`` images.
        ks: Where to measure the precision.

    Returns:
        Fractions by ``{protocol}_map`` and ``{protocol}_mp{k}``; NaN where
        the query has no positive.
    """
    scores = {}
    for name, (positive, junk) in PROTOCOLS.items():
        positives = _join(annotation, positive)
        ranks = positive_ranks(order, positives, _join(annotation, junk))
        scores[f'{name}_map'] = average_precision(ranks, len(positives))
        for k in ks:
            scores[f'{name}_mp{k}'] = precision_at(ranks, k)
    return scores


def mean_scores(queries: Sequence[Dict[str, float]]) -> Dict[str, float]:
    """Mean of each score over the queries in which it is not NaN.

    A score that no query has is NaN.
    """
    table = torch.tensor([list(scores.values()) for scores in queries],
                         dtype=torch.float64)
    return dict(zip(queries[0], table.nanmean(dim=0).tolist()))


def _join(annotation: Dict[str, Sequence[int]],
          keys: Iterable[str]) -> np.ndarray:
    return np.concatenate([_integers(annotation[key]) for key in keys])


def _integers(places: Iterable[int]) -> np.ndarray:
    return np.asarray(places, dtype=np.int64).reshape(-1)
