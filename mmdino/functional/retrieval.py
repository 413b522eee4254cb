"""Rankings, average precision, whitening and pooling for retrieval.

The measures of revisited Oxford and Paris (Radenovic et al. 2018,
arXiv 1803.11285) and of Copydays (Jegou et al. 2008, the Holidays package);
pooling and whitening as in arXiv 2104.14294, section 4.2.1.

Letters: G gallery images, P positives of a query, Q queries, N images, D
features.
"""
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmdino.functional.finite import require_finite

# By protocol, which annotations of a query are positives and which are junk.
PROTOCOLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = dict(
    medium=(('easy', 'hard'), ('junk', )), hard=(('hard', ), ('junk', 'easy')))


def rank_gallery(query: Tensor, gallery: Tensor) -> np.ndarray:
    """Rank the gallery by falling cosine similarity to a query: indices (G,).

    Images of equal similarity keep the order of the gallery.

    Args:
        query: (D,), normalised here.
        gallery: (G, D), of unit length.

    Raises:
        ValueError: If a feature is not finite.
    """
    require_finite(query[None], 'query features')
    similarity = gallery @ F.normalize(query, dim=0)
    require_finite(similarity[:, None], 'gallery features')
    return similarity.argsort(descending=True, stable=True).cpu().numpy()


def positive_ranks(order: np.ndarray,
                   positives: Sequence[int],
                   junk: Sequence[int] | None = None) -> np.ndarray:
    """Find the ranks of the positives after junk images are removed.

    Args:
        order: (G,) indices of gallery images, the most similar first.
        positives: Indices of the P positives in the gallery.
        junk: Indices of images that are removed from the order.

    Returns:
        (P,) ranks from 0, rising; fewer if ``order`` lacks some positives.
    """
    if junk is not None:
        order = order[~np.isin(order, junk)]
    return np.flatnonzero(np.isin(order, positives))


def average_precision(ranks: Sequence[int], num_positives: int) -> float:
    """Compute the area under the precision-recall curve (trapezoid rule).

    The j-th found positive (j from 0) at rank r_j adds a trapezoid of width
    1 / P in recall, from precision j / r_j (1 at rank 0) to precision
    (j + 1) / (r_j + 1). This is compute_ap of revisitop and
    score_ap_from_ranks_1 of the Holidays package.

    Args:
        ranks: Ranks from 0 of the positives that were found, rising.
        num_positives: P, the number of positives that exist. Those that were
            not found add nothing.

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
    """Compute the precision among the first k images, as revisitop does.

    If all positives are among the first k, k is lowered to the place of the
    last one, so that the images after it do not lower the precision.

    Args:
        ranks: Ranks from 0 of all positives.
        k: Number of images.

    Returns:
        A fraction; NaN without positives.
    """
    if not len(ranks):
        return float('nan')
    places = np.asarray(ranks) + 1
    k = min(int(places.max()), k)
    return float((places <= k).sum() / k)


def score_query(order: np.ndarray, annotation: dict[str, Sequence[int]],
                ks: Sequence[int]) -> dict[str, float]:
    """Score a ranking by each protocol of revisited Oxford and Paris.

    Args:
        order: (G,) indices of gallery images, the most similar first.
        annotation: Gallery indices of the ``easy``, ``hard`` and ``junk``
            images.
        ks: Numbers of images among which the precision is measured.

    Returns:
        Average precision as ``{protocol}_map`` and precision as
        ``{protocol}_mp{k}``, in fractions; NaN where the query has no
        positive.
    """
    scores = {}
    for name, (positive, junk) in PROTOCOLS.items():
        positives = _join(annotation, positive)
        ranks = positive_ranks(order, positives, _join(annotation, junk))
        scores[f'{name}_map'] = average_precision(ranks, len(positives))
        for k in ks:
            scores[f'{name}_mp{k}'] = precision_at(ranks, k)
    return scores


def mean_scores(queries: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average each score over the queries in which it is not NaN.

    A score that is NaN for every query stays NaN.
    """
    table = torch.tensor([list(scores.values()) for scores in queries],
                         dtype=torch.float64)
    return dict(zip(queries[0], table.nanmean(dim=0).tolist()))


def _join(annotation: dict[str, Sequence[int]],
          keys: Iterable[str]) -> np.ndarray:
    return np.concatenate([np.ravel(annotation[key]) for key in keys])


class Whitening(NamedTuple):
    """The map x -> projection (x - mean), in float64."""
    mean: Tensor  # (D,), of the features that the whitening was learnt from
    projection: Tensor  # (D, D), rows sorted by falling eigenvalue


def learn_whitening(features: Tensor, floor: float = 1e-5) -> Whitening:
    """Learn a whitening from features (N, D).

    The projection makes the second moment of the features the identity:
    C = sum x x^T / N = V diag(e) V^T gives the projection
    diag(e)^(-1/2) V^T, hence projection C projection^T = I. As in the
    authors' code, C is not centred, although the mean is subtracted when the
    whitening is applied.

    Args:
        features: (N, D).
        floor: Eigenvalues below this fraction of the largest are raised to
            it. Otherwise directions in which the features hardly vary, as
            with N < D, would be amplified without bound.

    Raises:
        ValueError: If there is no image, all features are 0, or one is not
            finite.
    """
    features = features.double()
    if not features.any():
        problem = ', all of them 0.' if len(features) else ': no image.'
        raise ValueError('Whitening needs features to learn from, got '
                         f'{tuple(features.shape)}{problem}')
    require_finite(features, 'whitening features')
    values, vectors = torch.linalg.eigh(features.t() @ features /
                                        len(features))
    values = values.clamp(min=floor * values.max()).flip(0)
    projection = vectors.flip(1).t() / values.sqrt()[:, None]
    return Whitening(features.mean(dim=0), projection)


def whiten(features: Tensor, whitening: Whitening) -> Tensor:
    """Apply a whitening to features (N, D), in float64."""
    centered = features.double() - whitening.mean
    return centered @ whitening.projection.t()


def gem(tokens: Tensor, power: float = 4., floor: float = 1e-6) -> Tensor:
    """Compute the generalised mean (B, D) of tokens (B, N, D).

    mean(max(x, floor)^p)^(1/p) over the tokens, in float32 or float64
    (Radenovic et al. 2018, arXiv 1711.02512, section 3.2).

    Args:
        tokens: (B, N, D).
        power: p; 1 gives the mean, large values approach the maximum.
        floor: Smaller values are raised to this.
    """
    tokens = tokens.clamp(min=floor)
    if tokens.dtype in (torch.float16, torch.bfloat16):
        tokens = tokens.float()
    return tokens.pow(power).mean(dim=1).pow(1 / power)


def rescale(images: Tensor, scale: float) -> Tensor:
    """Resize images (B, C, H, W) bilinearly by a factor.

    A scale of 1 returns the images themselves.
    """
    if scale == 1:
        return images
    return F.interpolate(
        images, scale_factor=scale, mode='bilinear', align_corners=False)


def crop_to_multiple(images: Tensor, divisor: int) -> Tensor:
    """Cut images at the right and bottom to whole patches.

    Args:
        images: (B, C, H, W).
        divisor: Side of a patch in pixels.

    Raises:
        ValueError: If an image is smaller than a patch.
    """
    height, width = (s // divisor * divisor for s in images.shape[-2:])
    if not height or not width:
        raise ValueError(
            f'An image of {images.shape[-2]} x {images.shape[-1]} px (height '
            f'x width) holds no patch of {divisor} px: use larger images or '
            'larger scales.')
    return images[..., :height, :width]
