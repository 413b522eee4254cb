"""Mean average precision of retrieval and of copy detection.

Revisited Oxford and Paris (arXiv 1803.11285), Copydays (arXiv 2104.14294,
section 4.2.1).
"""
import logging
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmdino.datasets.benchmarks.copydays import WHITENING
from mmdino.evaluation.gallery import Gallery
from mmdino.functional.retrieval import (Whitening, average_precision,
                                         learn_whitening, mean_scores,
                                         positive_ranks, rank_gallery,
                                         score_query, whiten)
from mmdino.registry import METRICS


@METRICS.register_module()
class RetrievalMAP(BaseMetric):
    """mAP and mP@k of the protocols Medium and Hard, in percent.

    Each query ranks the whole gallery by cosine similarity. Keys are
    ``retrieval/medium_map``, ``retrieval/hard_mp10`` and the like. Queries
    without a positive are left out of a protocol's means.

    The gallery comes from :class:`GalleryTestLoop`; the queries' samples need
    ``feature`` and the ``annotation`` of :class:`RevisitedImages`.

    Args:
        ks: Where to measure the precision.
        **kwargs: ``collect_device``, ``prefix`` and ``collect_dir`` of
            BaseMetric.
    """
    default_prefix = 'retrieval'

    def __init__(self, ks: Sequence[int] = (1, 5, 10), **kwargs) -> None:
        super().__init__(**kwargs)
        if not ks or min(ks) < 1:
            raise ValueError(f'ks must be positive integers, got {ks}.')
        self.ks = sorted(set(ks))
        self.gallery: Optional[Tensor] = None

    def set_gallery(self, gallery: Gallery) -> None:
        """Take the images to rank, a few thousand, on every rank."""
        features, _ = gallery.whole()
        self.gallery = F.normalize(features, dim=1)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Rank the gallery for each query and score the ranking."""
        if self.gallery is None:
            raise RuntimeError(
                'RetrievalMAP has no gallery. Set test_cfg=dict(type='
                "'GalleryTestLoop', gallery_dataloader=...).")
        for sample in data_samples:
            for key, cause in (('feature',
                                "the model's predict mode must add it"),
                               ('annotation',
                                'the queries must be RevisitedImages of '
                                "subset='queries' and PackInputs must pack it "
                                "(algorithm_keys=('annotation', ))")):
                if sample.get(key) is None:
                    raise KeyError(
                        f'RetrievalMAP found no `{key}` in the sample of '
                        f'{sample.get("img_path", "an image")}: {cause}.')
            order = rank_gallery(sample['feature'].float().cpu(), self.gallery)
            self.results.append(
                score_query(order, sample['annotation'], self.ks))

    def compute_metrics(self, results: List[Dict[str,
                                                 float]]) -> Dict[str, float]:
        """Means over the queries, in percent."""
        if not results:
            raise ValueError('RetrievalMAP got no query: is the test data set '
                             'empty?')
        return {k: 100. * v for k, v in mean_scores(results).items()}

    def evaluate(self, size: int) -> Dict[str, float]:
        """Average the queries' scores, then let the gallery go."""
        try:
            return super().evaluate(size)
        finally:
            self.gallery = None


@METRICS.register_module()
class CopyDetectionMAP(BaseMetric):
    """mAP of finding the originals of copies, in percent.

    Each query ranks the originals and the distractors by the cosine
    similarity of whitened features. The whitening is learnt on the gallery's
    whitening images, which are not ranked; without them the features are
    ranked as they are. The key is ``copydays/map``.

    The gallery comes from :class:`GalleryTestLoop`; what an image is, its
    label says, as :class:`mmdino.datasets.Copydays` gives it.

    Args:
        depth: Number of images retrieved for a query; an original beyond
            them counts as not found. 20 in the authors' code.
        **kwargs: ``collect_device``, ``prefix`` and ``collect_dir`` of
            BaseMetric.
    """
    default_prefix = 'copydays'

    def __init__(self, depth: int = 20, **kwargs) -> None:
        super().__init__(**kwargs)
        if depth < 1:
            raise ValueError(f'depth must be at least 1, got {depth}.')
        self.depth = depth
        self.whitening: Optional[Whitening] = None
        self.gallery: Optional[Tuple[Tensor, Tensor]] = None

    def set_gallery(self, gallery: Gallery) -> None:
        """Learn the whitening, then take the images to rank.

        Raises:
            ValueError: If the gallery has no labels or no originals.
        """
        features, labels = gallery.whole()
        if labels is None or not (labels >= 0).any():
            raise ValueError(
                'CopyDetectionMAP found no original in the gallery: use the '
                "data set Copydays with subset='database', and PackInputs to "
                'pack its labels.')
        learnt_on = features[labels == WHITENING]
        self.whitening = _learn(learnt_on) if len(learnt_on) else None
        ranked = labels != WHITENING
        self.gallery = self._embed(features[ranked]), labels[ranked]

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score the ranking of each query."""
        if self.gallery is None:
            raise RuntimeError(
                'CopyDetectionMAP has no gallery. Set test_cfg=dict(type='
                "'GalleryTestLoop', gallery_dataloader=...).")
        for sample in data_samples:
            for key, cause in (('feature',
                                "the model's predict mode must add it"),
                               ('gt_label', 'the queries must be Copydays of '
                                "subset='strong'")):
                if sample.get(key) is None:
                    raise KeyError(
                        f'CopyDetectionMAP found no `{key}` in the sample of '
                        f'{sample.get("img_path", "an image")}: {cause}.')
            self.results.append(
                self._score(sample['feature'].cpu(), int(sample['gt_label'])))

    def compute_metrics(self, results: List[float]) -> Dict[str, float]:
        """Mean over the queries, in percent; NaN if none has an original."""
        if not results:
            raise ValueError('CopyDetectionMAP got no query: is the test data '
                             'set empty?')
        return {'map': 100. * torch.tensor(results).double().nanmean().item()}

    def evaluate(self, size: int) -> Dict[str, float]:
        """Average the queries' scores, then let the gallery go."""
        try:
            return super().evaluate(size)
        finally:
            self.gallery = self.whitening = None

    def _embed(self, features: Tensor) -> Tensor:
        """Whiten and normalise features (N, D)."""
        if self.whitening is not None:
            features = whiten(features, self.whitening)
        return F.normalize(features.float(), dim=1)

    def _score(self, feature: Tensor, label: int) -> float:
        gallery, labels = self.gallery
        order = rank_gallery(self._embed(feature[None].float())[0], gallery)
        positives = (labels == label).nonzero().flatten().numpy()
        ranks = positive_ranks(order[:self.depth], positives)
        return average_precision(ranks, len(positives))


def _learn(features: Tensor) -> Whitening:
    count, width = features.shape
    print_log(f'The whitening is learnt on {count} images.', logger='current')
    if count < width:
        print_log(
            f'That is fewer than the {width} features: directions that these '
            'images do not show are whitened as the weakest ones. The authors '
            'used 20000 images.',
            logger='current',
            level=logging.WARNING)
    return learn_whitening(features)
