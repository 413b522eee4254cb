"""Accuracy of linear classifiers (arXiv 2104.14294, table 2, appendix)."""
import logging
import warnings
from datetime import timedelta
from typing import Dict, List, Sequence, Tuple

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.gallery import Gallery, GalleryMetric, SampleMetric
from mmdino.evaluation.placing import Placing
from mmdino.functional.knn import top_accuracy
from mmdino.functional.low_shot import logistic_regression
from mmdino.registry import METRICS
from mmdino.utils.progress import track


@METRICS.register_module()
class LinearProbeAccuracy(SampleMetric):
    """Top-1 and top-5 accuracy of every head and of the best, in percent.

    Keys are ``linear/lr0.001_top1`` and the like for each learning rate, then
    ``linear/best_top1``, ``linear/best_top5`` and ``linear/best_lr``. The
    best head is that of the highest top-1, among equals of the first learning
    rate: chosen on these very images, where the official protocol fixes it.
    Top-5 is left out where there are fewer than 5 classes.

    Args:
        **kwargs: Those of BaseMetric.
    """
    default_prefix = 'linear'
    needs = dict(
        gt_label='the data set must have classes',
        top_classes='the model must be LinearProbe')

    def keep(self, sample: dict) -> Dict[float, List[bool]]:
        """Whether the first and the first 5 classes hit, for each head."""
        truth = int(sample['gt_label'])
        return {
            lr: _hits(top, truth)
            for lr, top in sample['top_classes'].items()
        }

    def compute_metrics(
            self, results: List[Dict[float, List[bool]]]) -> Dict[str, float]:
        """Accuracies in percent."""
        accuracy = {
            lr: _percent([result[lr] for result in results])
            for lr in results[0]
        }
        best = max(accuracy, key=lambda lr: accuracy[lr]['top1'])
        named = {f'lr{lr:g}': values for lr, values in accuracy.items()}
        named['best'] = accuracy[best]
        metrics = {
            f'{name}_{key}': value
            for name, values in named.items()
            for key, value in values.items()
        }
        return dict(metrics, best_lr=best)


def _hits(top: Tensor, truth: int) -> List[bool]:
    """Whether the first class is right and, of 5, whether any is."""
    hits = (top == truth).tolist()
    return [hits[0], any(hits)] if len(hits) >= 5 else [hits[0]]


def _percent(hits: List[List[bool]]) -> Dict[str, float]:
    means = torch.tensor(hits, dtype=torch.float64).mean(dim=0) * 100
    return dict(zip(('top1', 'top5'), means.tolist()))


@METRICS.register_module()
class LowShotAccuracy(GalleryMetric):
    """Accuracy of logistic regression on a gallery's features, in percent.

    The gallery, from :class:`GalleryTestLoop`, is the images whose labels may
    be seen, 1% or 10% of the training set; every rank holds all of it. Keys
    are ``low_shot/c100_top1`` and the like, one for each C: choosing among
    them by the queries is tuning on the test set. Top-5 is left out where
    there are at most 5 classes.

    A fit takes minutes: the ranks share the strengths, and wait for each
    other for as long as that takes.

    Args:
        C: Inverse strengths of the regularisation.
        **kwargs: Those of BaseMetric.
    """
    default_prefix = 'low_shot'

    def __init__(self, C: Sequence[float] = (100., ), **kwargs) -> None:
        super().__init__(**kwargs)
        if not C or min(C) <= 0:
            raise ValueError(f'C must be positive numbers, got {C}.')
        self.C = C

    def set_gallery(self, gallery: Gallery) -> None:
        """Take the images with labels."""
        self.check_labels(gallery)
        self.gallery = gallery.whole()

    def evaluate_ranks(self, placing: Placing,
                       left_out: Sequence[str]) -> Dict[str, float]:
        """Give all ranks all queries, to share the work."""
        placed = {}
        for part in all_gather_object(
                dict(zip(placing.own.tolist(), self.results))):
            placed.update(part)
        return self.with_prefix(
            self.compute_metrics([placed[place] for place in sorted(placed)]))

    def compute_metrics(self, results: List[Tuple[Tensor,
                                                  int]]) -> Dict[str, float]:
        """Accuracies in percent, by ``c{C}_top1`` and ``c{C}_top5``.

        Each of W ranks fits every W-th strength.
        """
        queries, truth = zip(*results)
        queries, truth = torch.stack(queries), torch.tensor(truth)
        fits = {}
        own = self.C[get_rank()::get_world_size()]
        for C in track(own, 'Logistic regression'):
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # it is said below
                ranked, converged = logistic_regression(
                    *self.gallery, queries, C)
            fits[C] = top_accuracy(ranked, truth, ranked.shape[1]), converged
        for part in _gather_patiently(fits):
            fits.update(part)
        for C in self.C:
            if not fits[C][1]:
                print_log(
                    f'The logistic regression with C = {C:g} has not '
                    'converged: its accuracy may be too low.',
                    logger='current',
                    level=logging.WARNING)
        return {
            f'c{C:g}_{key}': value
            for C in self.C
            for key, value in fits[C][0].items()
        }


def _gather_patiently(part: dict) -> List[dict]:
    """Those of all ranks, which may come hours after each other."""
    if get_world_size() == 1:
        return [part]
    group = torch.distributed.new_group(
        backend='gloo', timeout=timedelta(days=7))
    parts = all_gather_object(part, group)
    torch.distributed.destroy_process_group(group)
    return parts
