"""A gallery of images to compare with, and the base classes of the metrics.

Letters: G images of the gallery, G' of these on this rank, D features, W
ranks.
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
from mmdino.utils.names import printable


class Gallery(NamedTuple):
    """This rank's share of a gallery, without unreadable images."""
    features: Tensor  # (G', D) float32, on the CPU
    labels: Tensor | None  # (G',) from 0, or None without ground truth
    places: Tensor  # (G',) positions of the images in the whole gallery
    size: int  # G
    files: Tensor | None = None  # (G',) file_key() of each image
    left_out: Sequence[str] = ()  # names of the unreadable images of all ranks

    @classmethod
    def placed(cls, features: Tensor, labels: Tensor | None,
               files: Tensor | None, placing: Placing,
               left_out: Sequence[str]) -> 'Gallery':
        """Select the rows of the images that have a place in the gallery.

        Args:
            features: (N, D) of all images of this rank.
            labels: (N,), or None without ground truth.
            files: (N,) file_key() of each image, or None.
            placing: Places of the N images; unreadable images and duplicates
                have none.
            left_out: Names of the unreadable images of all ranks.
        """
        counts = placing.own >= 0
        if counts.all():  # a slice makes no copy of what may be millions
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
        """Gather the hashes (G,) of the files of the whole gallery."""
        return None if self.files is None else gather_rows(
            self.files, self.places, self.size)

    def whole(self) -> tuple[Tensor, Tensor | None]:
        """Gather the features (G, D) and labels (G,) of the whole gallery.

        Every rank then holds all of them, which is meant for galleries of some
        thousand images.
        """
        features = gather_rows(self.features, self.places, self.size)
        return features, self.all_labels()


def say_left_out(what: str, names: Sequence[str]) -> None:
    """Log a warning that lists the images that could not be read.

    Args:
        what: What they are, such as 'gallery images'.
        names: Names of the images; without any, nothing is logged.
    """
    if names:
        shown = printable(', '.join(names[:100]))
        shown += ', ...' if len(names) > 100 else ''
        print_log(
            f'{len(names)} {what} could not be read and are left out: {shown}',
            logger='current',
            level=logging.WARNING)


class SampleMetric(BaseMetric):
    """Base class of metrics that report incomplete and missing samples.

    Images that could not be read, which :class:`.Images` marks with
    ``unreadable`` in their sample, are left out. A warning lists them, and
    ``<prefix>/left_out`` is their number, if there are any.

    Subclasses implement :meth:`keep` and ``compute_metrics``.

    Attributes:
        unit: What a sample is, for messages.
        needs: Names of the fields that a sample must have, each with what to
            do if it is missing.
        baselines: Names of the baselines (:mod:`mmdino.evaluation.baselines`)
            to measure with this metric. Only metrics list any that take little
            time beside computing the features.
    """
    unit = 'image'
    needs: dict[str, str] = {}
    baselines: Sequence[str] = ()

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        # For each sample its index in the data set, if it has one, and its
        # name, if it could not be read.
        self._told: list[int | None] = []
        self._unreadable: list[str | None] = []

    def keep(self, sample: dict) -> Any:
        """Reduce a sample to what ``compute_metrics`` needs."""
        raise NotImplementedError

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store what is needed of each sample of a batch.

        Raises:
            KeyError: If a sample lacks a field in ``needs``.
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
            size: Number of samples of the data set.

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
            placing: Positions of ``self.results`` among the results of all
                ranks.
            left_out: Names of the unreadable images of all ranks.
        """
        results = gather_objects(self.results, placing.own,
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

    :class:`GalleryValLoop` or :class:`GalleryTestLoop` sets the gallery before
    the first query. It is freed once the metric is computed, because its
    features belong to the network of this evaluation.

    Subclasses implement :meth:`set_gallery` and ``compute_metrics``.

    Attributes:
        gallery: What the metric keeps of the gallery; None if not set.
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
        # A clone, because pickling a row would pickle the whole batch.
        feature = sample['feature'].float().cpu().clone()
        return feature, int(sample['gt_label'])

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store what is needed of each query of a batch.

        Raises:
            KeyError: If a query lacks a field in ``needs``.
            RuntimeError: If no loop has set a gallery.
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
        """Raise an error if an image of the gallery has no label.

        Raises:
            ValueError: If one has none.
        """
        labels = gallery.labels
        if labels is None or (labels < 0).any():
            raise ValueError(
                f'{type(self).__name__} needs a label for every gallery '
                f'image, but {"none" if labels is None else "not each"} has '
                'one. Use a gallery_dataloader with class sub-folders or '
                'annotations.')
