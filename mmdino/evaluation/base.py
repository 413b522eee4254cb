"""A gallery of images to compare with, and the base classes of the metrics.

G images in all, G' on this rank, D features, W ranks.
"""
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.placing import (Placing, gather_names, gather_objects,
                                       gather_rows, place_samples)


class Gallery(NamedTuple):
    """This rank's share of a gallery, without unreadable images."""
    features: Tensor  # (G', D) float32, on the CPU
    labels: Tensor | None  # (G',) from 0, or None without ground truth
    places: Tensor  # (G',) where the images stand in the whole gallery
    size: int  # G
    files: Tensor | None = None  # (G',) by file_key, to know one again
    left_out: Sequence[str] = ()  # names of the unreadable ones, of all ranks

    @classmethod
    def of_rank(cls, features: Tensor, labels: Tensor | None,
                size: int) -> 'Gallery':
        """Take the images rank, rank + W, rank + 2 W, ... of the gallery.

        That is how MMEngine's DefaultSampler deals them without shuffling;
        the duplicates with which it fills up the ranks are dropped.
        """
        count = len(features)
        placing = place_samples([None] * count, [True] * count, size)
        return cls.placed(features, labels, None, placing, ())

    @classmethod
    def placed(cls, features: Tensor, labels: Tensor | None,
               files: Tensor | None, placing: Placing,
               left_out: Sequence[str]) -> 'Gallery':
        """Select rows of this rank's images that count."""
        counts = placing.own >= 0
        if counts.all():  # spares a copy of millions of rows
            counts = slice(None)
        labels, files = (None if rows is None else rows[counts]
                         for rows in (labels, files))
        return cls(features[counts], labels, placing.own[counts], placing.size,
                   files, left_out)

    def all_labels(self) -> Tensor | None:
        """Gather the labels (G,) of the whole gallery."""
        return None if self.labels is None else gather_rows(
            self.labels, self.places, self.size)

    def all_files(self) -> Tensor | None:
        """Gather the files (G,) of the whole gallery."""
        return None if self.files is None else gather_rows(
            self.files, self.places, self.size)

    def whole(self) -> tuple[Tensor, Tensor | None]:
        """Gather the features (G, D) and labels (G,) of the whole gallery.

        Every rank holds all of them then: for galleries of some thousands.
        """
        features = gather_rows(self.features, self.places, self.size)
        return features, self.all_labels()


def say_left_out(what: str, names: Sequence[str]) -> None:
    """Warn of images that could not be read, by name."""
    if names:
        shown = ', '.join(names[:100]) + (', ...' if len(names) > 100 else '')
        print_log(
            f'{len(names)} {what} could not be read and are left out: {shown}',
            logger='current',
            level=logging.WARNING)


class SampleMetric(BaseMetric):
    """Base class of metrics that report incomplete and missing samples.

    Images that could not be read (``unreadable`` in their sample, by
    :class:`.Images`) are left out and named; ``<prefix>/left_out`` says how
    many there were, if there were any.

    Attributes:
        unit: What a sample is.
        needs: The fields of a sample, each with the remedy if it is missing.
        baselines: Which of :mod:`mmdino.evaluation.baselines` it is worth
            measuring by: where that costs little more than the features.
    """
    unit = 'image'
    needs: dict[str, str] = {}
    baselines: Sequence[str] = ()

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._told: list[int | None] = []  # numbers in the data set
        self._unreadable: list[str | None] = []  # names, of each sample

    def keep(self, sample: dict) -> Any:
        """Reduce a sample to what ``compute_metrics`` needs."""
        raise NotImplementedError

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store what is needed of each sample of a batch.

        Raises:
            KeyError: If one lacks it.
        """
        for sample in data_samples:
            unreadable = sample.get('unreadable')
            if not unreadable:
                self._require(sample)
                self.results.append(self.keep(sample))
            self._told.append(sample.get('sample_idx'))
            self._unreadable.append(unreadable)

    def _require(self, sample: dict) -> None:
        for field, remedy in self.needs.items():
            if sample.get(field) is None:
                name = sample.get('img_path') or sample.get(
                    'sequence') or f'a {self.unit}'
                raise KeyError(f'{type(self).__name__} found no `{field}` '
                               f'in the sample of {name}: {remedy}.')

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the metrics of all ranks' samples, on every rank.

        Args:
            size: Number of samples; those beyond it are duplicates.

        Raises:
            ValueError: If no rank has a sample, or none can be read.
        """
        try:
            readable = [not name for name in self._unreadable]
            placing = place_samples(self._told, readable, size)
            left_out = gather_names([n for n in self._unreadable if n])
            if not placing.size:
                raise ValueError(
                    f'{type(self).__name__} got no {self.unit}: ' +
                    (f'none can be read, the first is {left_out[0]}'
                     if left_out else 'is the data set empty?'))
            own = placing.own[torch.tensor(readable, dtype=torch.bool)]
            self._drop_duplicates(own)
            say_left_out(f'images of {type(self).__name__}', left_out)
            metrics = self.evaluate_ranks(
                placing._replace(own=own[own >= 0]), left_out)
            if left_out:
                metrics[f'{self.prefix}/left_out'] = len(left_out)
            return metrics
        finally:
            for rows in (self.results, self._told, self._unreadable):
                rows.clear()

    def _drop_duplicates(self, own: Tensor) -> None:
        self.results = [
            result for result, place in zip(self.results, own.tolist())
            if place >= 0
        ]

    def evaluate_ranks(self, placing: Placing,
                       left_out: Sequence[str]) -> dict[str, float]:
        """Compute the metrics once unreadable samples are excluded.

        Args:
            placing: Where ``self.results`` stand among those of all ranks.
            left_out: Names of the unreadable ones, of all ranks.
        """
        results = gather_objects(self.results, placing.own, placing.size,
                                 self.collect_device, self.collect_dir)
        computed = [
            self.with_prefix(self.compute_metrics(results))
            if is_main_process() else None
        ]
        broadcast_object_list(computed)
        return computed[0]

    def with_prefix(self, metrics: dict[str, float]) -> dict[str, float]:
        """Add the prefix to the names of the metrics, as the log shows them.
        """
        if not self.prefix:
            return metrics
        return {f'{self.prefix}/{key}': v for key, v in metrics.items()}


class GalleryMetric(SampleMetric):
    """Base class of metrics that compare queries with a gallery.

    :class:`GalleryValLoop` or :class:`GalleryTestLoop` gives the gallery
    before the first query. It is kept until the metric is computed: by the
    next time, training has changed the network whose features it holds.

    Attributes:
        gallery: What the metric keeps of a gallery, or None.
    """
    unit = 'query'
    needs = dict(
        feature="the model's predict mode must add it",
        gt_label='the queries must have classes')
    gallery: Any = None

    def set_gallery(self, gallery: Gallery) -> None:
        """Set the gallery to compare with."""
        raise NotImplementedError

    def keep(self, sample: dict) -> tuple[Tensor, int]:
        """Return the feature (D,), on the CPU, and the label."""
        # A clone, since pickling a row of a batch pickles the batch.
        feature = sample['feature'].float().cpu().clone()
        return feature, int(sample['gt_label'])

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store what is needed of each query of a batch.

        Raises:
            RuntimeError: If no loop has given a gallery.
        """
        if self.gallery is None:
            raise RuntimeError(
                f'{type(self).__name__} has no gallery. Set val_cfg=dict(type='
                "'GalleryValLoop', gallery_dataloader=...), or "
                "'GalleryTestLoop' in test_cfg.")
        super().process(data_batch, data_samples)

    def evaluate(self, size: int) -> dict[str, float]:
        """Compute the metrics of all ranks' queries and free the gallery."""
        try:
            return super().evaluate(size)
        finally:
            self.gallery = None

    def check_labels(self, gallery: Gallery) -> None:
        """Raise an error if an image of the gallery has no label."""
        labels = gallery.labels
        if labels is None or (labels < 0).any():
            raise ValueError(
                f'{type(self).__name__} needs a label for every gallery '
                f'image, but {"none" if labels is None else "not each"} has '
                'one. Use a gallery_dataloader with class sub-folders or '
                'annotations.')
