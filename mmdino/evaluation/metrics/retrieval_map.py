"""Retrieval on revisited Oxford and Paris (arXiv 1803.11285)."""
from typing import Any, Dict, List, Optional, Sequence

import torch.nn.functional as F
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmdino.evaluation.functional import mean_scores, rank_gallery, score_query
from mmdino.evaluation.gallery import Gallery
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
