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

    Keys are, for example, ``linear/lr0.001_top1`` for each learning rate, or
    ``linear/blocks4_mean_lr0.001_top1`` for each choice of features and
    learning rate. The best head, the first one with the highest top-1, is
    reported as ``linear/best_top1``, ``linear/best_top5``, ``linear/best_lr``
    and, with choices of features, ``linear/best_blocks`` and
    ``linear/best_mean`` (0 or 1). Top-5 is left out with 5 or fewer classes.

    Args:
        choose_on: Index of the part of a :class:`.ConcatDataset` on which the
            best head is chosen. All accuracies are then those of the other
            parts, and ``linear/chosen_on_top1`` is the accuracy of the best
            head on the part that it was chosen on. By default the best head is
            chosen on the same images that are reported; DINO's protocol fixes
            the learning rate instead.
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

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

        The hits of a head are whether its first class is right and, with more
        than 5 classes, whether one of its first five is.
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
        """Compute the accuracies in percent."""
        reported = [hits for choosing, hits in results if not choosing]
        choice = [hits for choosing, hits in results if choosing] or reported
        if self.choose_on is not None and not 0 < len(reported) < len(results):
            raise ValueError(
                f'Of {len(results)} images {len(results) - len(reported)} are '
                f'of part {self.choose_on}, on which the best head is chosen. '
                'There must be images of that part and of another one: change '
                'choose_on or the data set.')
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
    """Return whether the first class, and one of the first five, is right."""
    hits = (top == truth).tolist()
    return [hits[0], any(hits)] if len(hits) >= 5 else [hits[0]]


def _percent(hits: list[list[bool]]) -> dict[str, float]:
    means = torch.tensor(hits, dtype=torch.float64).mean(dim=0) * 100
    return dict(zip(('top1', 'top5'), means.tolist()))


@METRICS.register_module()
class LowShotAccuracy(GalleryMetric):
    """Accuracy of logistic regression on a gallery's features, in percent.

    The gallery, from :class:`GalleryTestLoop`, holds the labelled images, such
    as 1% or 10% of the training set; every rank holds all of it. Keys are, for
    example, ``low_shot/c100_top1``, one for each C; choosing the best of them
    is tuning on the test set. Top-5 is left out with 5 or fewer classes.

    A fit takes minutes. The values of C are divided among the ranks, which
    wait for each other as long as necessary.

    Args:
        C: Inverse strengths of the regularisation.
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

    Raises:
        ValueError: If there is no C, or one is not positive.
    """
    default_prefix = 'low_shot'

    def __init__(self, C: Sequence[float] = (100., ), **kwargs) -> None:
        super().__init__(**kwargs)
        if not C or min(C) <= 0:
            raise ValueError(f'C must be positive numbers, got {C}.')
        self.C = C

    def set_gallery(self, gallery: Gallery) -> None:
        """Set the labelled images.

        Raises:
            ValueError: If an image has no label.
        """
        self.check_labels(gallery)
        self.gallery = gallery.whole()

    def evaluate_ranks(self, placing: Placing,
                       left_out: Sequence[str]) -> dict[str, float]:
        """Gather all queries on all ranks and compute the metrics there."""
        placed = {}
        for part in all_gather_object(
                dict(zip(placing.own.tolist(), self.results))):
            placed.update(part)
        return self.with_prefix(
            self.compute_metrics([placed[place] for place in sorted(placed)]))

    def compute_metrics(self, results: list[tuple[Tensor,
                                                  int]]) -> dict[str, float]:
        """Compute accuracies in percent, ``c{C}_top1`` and ``c{C}_top5``.

        Each of W ranks fits every W-th value of C.
        """
        queries, truth = zip(*results)
        queries, truth = torch.stack(queries), torch.tensor(truth)
        fits = {}
        own = self.C[get_rank()::get_world_size()]
        for C in track(own, 'Logistic regression'):
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # logged below
                ranked, converged = logistic_regression(
                    *self.gallery, queries, C)
            fits[C] = top_accuracy(ranked, truth, ranked.shape[1]), converged
        for part in _gather_patiently(fits):
            fits.update(part)
        for C in self.C:
            if not fits[C][1]:
                print_log(
                    f'The logistic regression with C = {C:g} has not '
                    'converged: its accuracy may be too low. A smaller C '
                    'converges faster.',
                    logger='current',
                    level=logging.WARNING)
        return {
            f'c{C:g}_{key}': value
            for C in self.C
            for key, value in fits[C][0].items()
        }


def _gather_patiently(part: dict) -> list[dict]:
    """Gather objects of all ranks with a timeout of days instead of minutes.
    """
    if get_world_size() == 1:
        return [part]
    group = torch.distributed.new_group(
        backend='gloo', timeout=timedelta(days=7))
    parts = all_gather_object(part, group)
    torch.distributed.destroy_process_group(group)
    return parts
