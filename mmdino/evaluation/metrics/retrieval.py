"""Mean average precision of retrieval and of copy detection.

Revisited Oxford and Paris (arXiv 1803.11285), Copydays (arXiv 2104.14294,
section 4.2.1).
"""
import logging
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

from mmdino.datasets.benchmarks.copydays import WHITENING
from mmdino.evaluation.base import Gallery, GalleryMetric
from mmdino.evaluation.baselines import PIXELS, UNTRAINED
from mmdino.functional.finite import require_finite
from mmdino.functional.retrieval import (Whitening, average_precision,
                                         learn_whitening, mean_scores,
                                         positive_ranks, rank_gallery,
                                         score_query, whiten)
from mmdino.registry import METRICS


@METRICS.register_module()
class RetrievalMAP(GalleryMetric):
    """mAP and mP@k of the protocols Medium and Hard, in percent.

    Each query ranks the whole gallery by cosine similarity. Keys are, for
    example, ``retrieval/medium_map`` and ``retrieval/hard_mp10``. Queries
    without a positive in a protocol are left out of its means.

    The gallery comes from :class:`GalleryTestLoop`; the queries' samples need
    ``feature`` and the ``annotation`` of :class:`RevisitedImages`.

    Args:
        ks: Numbers of images among which the precision is measured.
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

    Raises:
        ValueError: If there is no ``ks``, or one is below 1.
    """
    default_prefix = 'retrieval'
    baselines = (PIXELS, UNTRAINED)
    needs = dict(
        feature=GalleryMetric.needs['feature'],
        annotation='the queries must be RevisitedImages of '
        "subset='queries' and PackInputs must pack it "
        "(algorithm_keys=('annotation', ))")

    def __init__(self, ks: Sequence[int] = (1, 5, 10), **kwargs) -> None:
        super().__init__(**kwargs)
        if not ks or min(ks) < 1:
            raise ValueError(f'ks must be positive integers, got {ks}.')
        self.ks = sorted(set(ks))

    def set_gallery(self, gallery: Gallery) -> None:
        """Set the images to rank; every rank holds all, a few thousand.

        Raises:
            ValueError: If a feature is not finite.
        """
        features, _ = gallery.whole()
        require_finite(features, 'gallery features')
        self.gallery = F.normalize(features, dim=1)

    def keep(self, sample: dict) -> dict[str, float]:
        """Score the ranking of the gallery for a query."""
        order = rank_gallery(sample['feature'].float().cpu(), self.gallery)
        return score_query(order, sample['annotation'], self.ks)

    def compute_metrics(self, results: list[dict[str,
                                                 float]]) -> dict[str, float]:
        """Average over the queries, in percent."""
        return {k: 100. * v for k, v in mean_scores(results).items()}


@METRICS.register_module()
class CopyDetectionMAP(GalleryMetric):
    """mAP of finding the originals of copied images, in percent.

    Each query ranks the originals and the distractors by the cosine similarity
    of whitened features. The whitening is learnt from the whitening images of
    the gallery, which are not ranked; without such images the features are not
    whitened. The key is ``copydays/map``.

    The gallery comes from :class:`GalleryTestLoop`. The labels of
    :class:`mmdino.datasets.Copydays` distinguish originals, distractors and
    whitening images.

    Args:
        depth: Number of images retrieved for a query; an original beyond
            them counts as not found. It is 20 in the authors' code.
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

    Raises:
        ValueError: If ``depth`` is below 1.
    """
    default_prefix = 'copydays'
    needs = dict(
        feature=GalleryMetric.needs['feature'],
        gt_label="the queries must be Copydays of subset='strong'")

    def __init__(self, depth: int = 20, **kwargs) -> None:
        super().__init__(**kwargs)
        if depth < 1:
            raise ValueError(f'depth must be at least 1, got {depth}.')
        self.depth = depth

    def set_gallery(self, gallery: Gallery) -> None:
        """Learn the whitening, then set the images to rank.

        Raises:
            ValueError: If the gallery has no originals, or a feature is not
                finite.
        """
        features, labels = gallery.whole()
        require_finite(features, 'gallery features')
        if labels is None or not (labels >= 0).any():
            raise ValueError(
                'CopyDetectionMAP found no original in the gallery: use the '
                "data set Copydays with subset='database', and PackInputs to "
                'pack its labels.')
        ranked = labels != WHITENING
        whitening = None if ranked.all() else _learn(features[~ranked])
        ranked_features = _embed(features[ranked], whitening)
        self.gallery = ranked_features, labels[ranked], whitening

    def keep(self, sample: dict) -> float:
        """Compute the average precision of the ranking for a query."""
        gallery, labels, whitening = self.gallery
        query = _embed(sample['feature'][None].float().cpu(), whitening)[0]
        order = rank_gallery(query, gallery)
        positives = (labels == int(sample['gt_label'])).nonzero().flatten()
        ranks = positive_ranks(order[:self.depth], positives)
        return average_precision(ranks, len(positives))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Average over the queries, in percent; NaN if none has an original.

        Those that have none are left out, which a warning counts.
        """
        areas = torch.tensor(results, dtype=torch.float64)
        lost = int(areas.isnan().sum())
        if lost:
            print_log(
                f'{lost} of {len(areas)} copies are left out: no original has '
                'their number (the first four digits of the names).',
                logger='current',
                level=logging.WARNING)
        return {'map': 100. * areas.nanmean().item()}


def _embed(features: Tensor, whitening: Whitening | None) -> Tensor:
    """Whiten features (N, D), if there is a whitening, and normalise them."""
    if whitening is not None:
        features = whiten(features, whitening)
    return F.normalize(features.float(), dim=1)


def _learn(features: Tensor) -> Whitening:
    count, width = features.shape
    print_log(f'The whitening is learnt on {count} images.', logger='current')
    if count < width:
        print_log(
            f'These are fewer images than the {width} features, so that the '
            'whitening is undetermined in some directions, which are scaled '
            'like the weakest ones. The authors used 20000 images.',
            logger='current',
            level=logging.WARNING)
    return learn_whitening(features)
