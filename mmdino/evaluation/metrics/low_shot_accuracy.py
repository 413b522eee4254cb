"""Accuracy with few labels (arXiv 2104.14294, appendix)."""
import logging
import warnings
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.functional import logistic_regression
from mmdino.evaluation.gallery import Gallery
from mmdino.progress import track
from mmdino.registry import METRICS


@METRICS.register_module()
class LowShotAccuracy(BaseMetric):
    """Accuracy of logistic regression on a gallery's features, in percent.

    The gallery, from :class:`GalleryTestLoop`, is the images whose labels may
    be seen, 1% or 10% of the training set; rank 0 holds all of it. Keys are
    ``low_shot/c100_top1`` and the like, one for each C: choosing among them
    by the queries is tuning on the test set. Top-5 is left out where there
    are at most 5 classes.

    Args:
        C: Inverse strengths of the regularisation.
        **kwargs: ``collect_device``, ``prefix`` and ``collect_dir`` of
            BaseMetric.
    """
    default_prefix = 'low_shot'

    def __init__(self, C: Sequence[float] = (100., ), **kwargs) -> None:
        super().__init__(**kwargs)
        if not C or min(C) <= 0:
            raise ValueError(f'C must be positive numbers, got {C}.')
        self.C = C
        self.gallery: Optional[Tuple[Tensor, Tensor]] = None

    def set_gallery(self, gallery: Gallery) -> None:
        """Take the images with labels."""
        if gallery.labels is None:
            raise ValueError(
                'LowShotAccuracy needs a label for every gallery image. Use a '
                'gallery_dataloader with class sub-folders or annotations.')
        self.gallery = gallery.whole()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collect the queries' features and labels on the CPU."""
        if self.gallery is None:
            raise RuntimeError('LowShotAccuracy has no gallery. Set test_cfg='
                               "dict(type='GalleryTestLoop', "
                               'gallery_dataloader=...).')
        for sample in data_samples:
            if 'gt_label' not in sample:
                raise KeyError('LowShotAccuracy found no `gt_label` in the '
                               f'sample of {sample.get("img_path")}: the '
                               'queries must have classes.')
            self.results.append((sample['feature'].float().cpu().clone(),
                                 int(sample['gt_label'])))

    def compute_metrics(self, results: List[Tuple[Tensor,
                                                  int]]) -> Dict[str, float]:
        """Accuracies in percent, by ``c{C}_top1`` and ``c{C}_top5``."""
        queries, truth = zip(*results)
        queries, truth = torch.stack(queries), torch.tensor(truth)
        metrics = {}
        for C in track(self.C, 'Logistic regression'):
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # it is said below
                ranked, converged = logistic_regression(
                    *self.gallery, queries, C)
            if not converged:
                print_log(
                    f'The logistic regression with C = {C:g} has not '
                    'converged: its accuracy may be too low.',
                    logger='current',
                    level=logging.WARNING)
            hits = ranked == truth[:, None]
            for rank in [1, 5] if ranked.shape[1] > 5 else [1]:
                hit = hits[:, :rank].any(dim=1).double().mean()
                metrics[f'c{C:g}_top{rank}'] = 100. * hit.item()
        return metrics

    def evaluate(self, size: int) -> Dict[str, float]:
        """Score the collected queries, then let the gallery go."""
        try:
            return super().evaluate(size)
        finally:
            self.gallery = None
