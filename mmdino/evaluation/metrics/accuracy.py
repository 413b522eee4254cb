"""Accuracy of linear classifiers (arXiv 2104.14294, table 2, appendix)."""
import logging
import warnings
from collections.abc import Sequence
from datetime import timedelta

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.base import Gallery, GalleryMetric, SampleMetric
from mmdino.evaluation.placing import Placing
from mmdino.functional.knn import top_accuracy
from mmdino.functional.low_shot import logistic_regression
from mmdino.models.frozen.linear_probe import Key, head_name, split_key
from mmdino.registry import METRICS
from mmdino.utils.progress import track


@METRICS.register_module()
class LinearProbeAccuracy(SampleMetric):
    """Top-1 and top-5 accuracy of all heads and of the best one, in percent.

    Keys are ``linear/lr0.001_top1`` and the like for each learning rate, or
    ``linear/blocks4_mean_lr0.001_top1`` for each choice of features and
    learning rate; then ``linear/best_top1``, ``linear/best_top5``,
    ``linear/best_lr`` and, where features were chosen, ``linear/best_blocks``
    and ``linear/best_mean`` (0 or 1). The best head is that of the highest
    top-1, among equals the first. Top-5 is left out where there are fewer
    than 5 classes.

    Args:
        choose_on: Which part of a :class:`.ConcatDataset`, from 0, the best
            head is chosen on. All accuracies are then those of the other
            parts, and ``linear/chosen_on_top1`` is that of the best head on
            the part that chose it. By default it is chosen on the very images
            that are reported, where DINO's protocol fixes the learning rate.
        **kwargs: Those of BaseMetric.

    Raises:
        ValueError: In ``evaluate``, if ``choose_on`` leaves no image to choose
            on, or none to report.
    """
    default_prefix = 'linear'
    needs = dict(
        gt_label='the data set must have classes',
        top_classes='the model must be LinearProbe')

    def __init__(self, choose_on: int | None = None, **kwargs) -> None:
        super().__init__(**kwargs)
        self.choose_on = choose_on
        if choose_on is not None:
            self.needs = dict(
                self.needs,
                dataset_idx='choose_on needs a ConcatDataset of the part to '
                'choose on and of the part to report')

    def keep(self, sample: dict) -> tuple[bool, dict[Key, list[bool]]]:
        """Return whether the image serves to choose a head, and the heads'
        hits.

        That is, whether the first and the first 5 classes hit.
        """
        truth = int(sample['gt_label'])
        choosing = (
            self.choose_on is not None
            and sample['dataset_idx'] == self.choose_on)
        return choosing, {
            key: _hits(top, truth)
            for key, top in sample['top_classes'].items()
        }

    def compute_metrics(
            self, results: list[tuple[bool,
                                      dict[Key,
                                           list[bool]]]]) -> dict[str, float]:
        """Accuracies in percent."""
        reported = [hits for choosing, hits in results if not choosing]
        choice = [hits for choosing, hits in results if choosing] or reported
        if self.choose_on is not None and not 0 < len(reported) < len(results):
            raise ValueError(
                f'Of {len(results)} images {len(results) - len(reported)} are '
                f'of part {self.choose_on}, which the best head is chosen on: '
                'it takes images of that part and of another one.')
        accuracy, on_choice = _accuracies(reported), _accuracies(choice)
        best = max(on_choice, key=lambda key: on_choice[key]['top1'])
        named = {head_name(key): values for key, values in accuracy.items()}
        named['best'] = accuracy[best]
        metrics = {
            f'{name}_{key}': value
            for name, values in named.items()
            for key, value in values.items()
        }
        features, rate = split_key(best)
        metrics['best_lr'] = rate
        if features is not None:
            metrics.update({
                f'best_{field}': float(value)
                for field, value in features._asdict().items()
            })
        if self.choose_on is not None:
            metrics['chosen_on_top1'] = on_choice[best]['top1']
        return metrics


def _accuracies(
        results: list[dict[Key, list[bool]]]) -> dict[Key, dict[str, float]]:
    return {
        key: _percent([result[key] for result in results])
        for key in results[0]
    }


def _hits(top: Tensor, truth: int) -> list[bool]:
    """Return whether the first class is right, and one of the first five."""
    hits = (top == truth).tolist()
    return [hits[0], any(hits)] if len(hits) >= 5 else [hits[0]]


def _percent(hits: list[list[bool]]) -> dict[str, float]:
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
        """Set the images with labels."""
        self.check_labels(gallery)
        self.gallery = gallery.whole()

    def evaluate_ranks(self, placing: Placing,
                       left_out: Sequence[str]) -> dict[str, float]:
        """Give all queries to all ranks, which share the work."""
        placed = {}
        for part in all_gather_object(
                dict(zip(placing.own.tolist(), self.results))):
            placed.update(part)
        return self.with_prefix(
            self.compute_metrics([placed[place] for place in sorted(placed)]))

    def compute_metrics(self, results: list[tuple[Tensor,
                                                  int]]) -> dict[str, float]:
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


def _gather_patiently(part: dict) -> list[dict]:
    """Gather objects of all ranks, which may arrive hours apart."""
    if get_world_size() == 1:
        return [part]
    group = torch.distributed.new_group(
        backend='gloo', timeout=timedelta(days=7))
    parts = all_gather_object(part, group)
    torch.distributed.destroy_process_group(group)
    return parts
