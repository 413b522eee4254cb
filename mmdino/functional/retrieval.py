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

# what a query's annotation counts as: (positives, junk)
PROTOCOLS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = dict(
    medium=(('easy', 'hard'), ('junk', )), hard=(('hard', ), ('junk', 'easy')))


def rank_gallery(query: Tensor, gallery: Tensor) -> np.ndarray:
    """Rank the gallery by falling cosine similarity to a query: indices (G,).

    Equal ones keep the gallery's order. The query (D,) is of any length above
    0, the gallery (G, D) is normalised already.
    """
    similarity = gallery @ F.normalize(query, dim=0)
    return similarity.argsort(descending=True, stable=True).cpu().numpy()


def positive_ranks(order: np.ndarray,
                   positives: Sequence[int],
                   junk: Sequence[int] | None = None) -> np.ndarray:
    """Find the ranks of the positives after junk images are removed.

    Args:
        order: (G,) places in the gallery, the most similar first.
        positives: Their P places.
        junk: Places of images that are as if they were not there.

    Returns:
        (P,) ranks from 0, rising; fewer if the order lacks some.
    """
    if junk is not None:
        order = order[~np.isin(order, junk)]
    return np.flatnonzero(np.isin(order, positives))


def average_precision(ranks: Sequence[int], num_positives: int) -> float:
    """Compute the area under the precision-recall curve (trapezoid rule).

    With the j-th of the found positives (j from 0) at rank r_j the curve goes
    from precision j / r_j (1 at rank 0) to (j + 1) / (r_j + 1), over a step of
    recall of 1 / P: compute_ap of revisitop and score_ap_from_ranks_1 of the
    Holidays package.

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
    """Compute the precision among the first k images, as revisitop does.

    Where the last positive comes before place k, the images after it are not
    counted against the ranking: k becomes that place. Of the ranks from 0 of
    all positives it gives a fraction, NaN where there are none.
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


def mean_scores(queries: Sequence[dict[str, float]]) -> dict[str, float]:
    """Average each score over the queries in which it is not NaN.

    A score that no query has is NaN.
    """
    table = torch.tensor([list(scores.values()) for scores in queries],
                         dtype=torch.float64)
    return dict(zip(queries[0], table.nanmean(dim=0).tolist()))


def _join(annotation: dict[str, Sequence[int]],
          keys: Iterable[str]) -> np.ndarray:
    return np.concatenate([np.ravel(annotation[key]) for key in keys])


class Whitening(NamedTuple):
    """The map x -> projection (x - mean), in float64."""
    mean: Tensor  # (D,), of the features it was learnt on
    projection: Tensor  # (D, D), its rows by falling eigenvalue


def learn_whitening(features: Tensor, floor: float = 1e-5) -> Whitening:
    """Learn a whitening from features (N, D).

    It makes their second moment the identity.

    As in the authors' code the mean is subtracted when the whitening is
    applied, while the covariance it is learnt from is not centred:
    C = sum x x^T / N = V diag(e) V^T gives the projection
    diag(e)^(-1/2) V^T, hence projection C projection^T = I.

    Eigenvalues below ``floor`` times the largest are raised to that, so that
    directions that the images do not show, as with N < D, are not blown up.

    Raises:
        ValueError: If there is no image, or all features are 0 or one is not
            finite.
    """
    features = features.double()
    if not features.any():
        problem = ', all of them 0.' if len(features) else ': no image.'
        raise ValueError('Whitening needs features to learn from, got '
                         f'{tuple(features.shape)}{problem}')
    if not features.isfinite().all():
        raise ValueError('Whitening got features that are not finite: look '
                         'at the checkpoint.')
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

    In float32 at least.

    mean(max(x, floor)^p)^(1/p), Radenovic et al. 2018 (arXiv 1711.02512,
    section 3.2); a power p of 1 is the mean, a large one the maximum.
    """
    tokens = tokens.clamp(min=floor)
    if tokens.dtype in (torch.float16, torch.bfloat16):
        tokens = tokens.float()
    return tokens.pow(power).mean(dim=1).pow(1 / power)


def rescale(images: Tensor, scale: float) -> Tensor:
    """Resize images (B, C, H, W) bilinearly; 1 leaves them as they are."""
    if scale == 1:
        return images
    return F.interpolate(
        images, scale_factor=scale, mode='bilinear', align_corners=False)


def crop_to_multiple(images: Tensor, divisor: int) -> Tensor:
    """Cut images at the right and bottom to whole patches.

    The images are (B, C, H, W), the divisor is a patch's side in pixels.

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
