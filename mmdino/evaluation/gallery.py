"""Loops that embed a gallery, and the base classes of the metrics.

G images in all, G' on this rank, D features, W ranks.
"""
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from mmengine.dist import all_reduce, broadcast_object_list, is_main_process
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log
from mmengine.runner import TestLoop, ValLoop, autocast
from torch import Tensor
from torch.utils.data import DataLoader

from mmdino.engine.hooks.classes import check_classes
from mmdino.evaluation.baselines import (Figures, as_metrics, below,
                                         measure_baselines)
from mmdino.evaluation.placing import (Placing, file_key, gather_names,
                                       gather_objects, gather_rows,
                                       place_samples)
from mmdino.registry import LOOPS
from mmdino.utils.progress import track
from mmdino.utils.randomness import seeded


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


class _GalleryMixin:
    """Loop mixin that embeds a gallery for the metrics before the queries.

    Every metric with a ``set_gallery(gallery)`` gets this rank's share, a
    :class:`Gallery`. Hooks that swap the weights for an evaluation (MMEngine's
    EMAHook) have done so by then.

    Images that are unreadable are left out, of the gallery and of the
    queries, and named. A warning says how many queries are in the gallery
    themselves: their nearest neighbour says nothing about the network.

    The first time, the log says what raw pixels and the untrained network
    reach on the same queries, see :mod:`mmdino.evaluation.baselines`.

    Args:
        dataloader: The queries.
        evaluator: The metrics.
        gallery_dataloader: The gallery: a DataLoader or its config, with a
            sampler that deals samples in turn to the ranks (DefaultSampler,
            ``shuffle=False``). None for measures that compare with none.
        fp16: Whether to embed with autocast.
        baseline_images: Gallery images, evenly spread, that the baselines are
            measured with; None takes all, 0 measures no baselines.
    """
    step: str

    def __init__(self,
                 runner,
                 dataloader: DataLoader | dict,
                 evaluator: Evaluator | dict | list,
                 gallery_dataloader: DataLoader | dict | None = None,
                 fp16: bool = False,
                 baseline_images: int | None = 50000) -> None:
        self.configs = gallery_dataloader, dataloader
        super().__init__(runner, dataloader, evaluator, fp16)
        self.gallery_dataloader = None
        if gallery_dataloader is not None:
            self.gallery_dataloader = runner.build_dataloader(
                gallery_dataloader, seed=runner.seed)
            check_classes('the queries and the gallery',
                          self.dataloader.dataset,
                          self.gallery_dataloader.dataset)
        self.baseline_images = baseline_images
        self.baselines: Figures | None = None

    def run(self) -> dict:
        """Evaluate, and warn of queries that are in the gallery."""
        if self.baselines is None:
            with seeded(0):  # no random number of the run is used up
                self.baselines = measure_baselines(self)
        self._in_gallery = torch.zeros(2, dtype=torch.int64)
        metrics = super().run()
        self._say_in_gallery()
        return metrics

    def _say_in_gallery(self) -> None:
        all_reduce(self._in_gallery)
        same, count = self._in_gallery.tolist()
        if same:
            print_log(
                f'{same} of {count} queries are also in the gallery, as the '
                'same files: their nearest neighbour is the image itself, and '
                'accuracies are near 100 % for any network. Compare other '
                'images, or leave each query out of its own neighbours: '
                "dict(type='KNNAccuracy', leave_out_self=True).",
                logger='current',
                level=logging.WARNING)

    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Embed the gallery before the first batch, if a metric needs one."""
        metrics = [
            metric for metric in self.evaluator.metrics
            if hasattr(metric, 'set_gallery')
        ]
        if metrics and self.gallery_dataloader is None:
            raise ValueError(
                f'{type(metrics[0]).__name__} compares with a gallery, and '
                f'{type(self).__name__} got none: set gallery_dataloader.')
        if idx == 0 and metrics:
            gallery = self.embed_gallery()
            files = gallery.all_files()
            self._files = set() if files is None else set(
                files.tolist()) - {-1}
            for metric in metrics:
                metric.set_gallery(gallery)
        super().run_iter(idx, data_batch)
        if metrics:
            samples = data_batch.get('data_samples') or ()
            keys = [file_key(sample.get('img_path')) for sample in samples]
            same = sum(key in self._files for key in keys)
            self._in_gallery += torch.tensor([same, len(keys)])

    def embed_gallery(self) -> Gallery:
        """Compute features and labels of this rank's share of the gallery."""
        self.runner.model.eval()
        return self.embed(self.gallery_dataloader,
                          getattr(self.runner.model, self.step))

    @torch.no_grad()
    def embed(self,
              loader: DataLoader,
              embed: Callable,
              name: str = 'Gallery') -> Gallery:
        """Compute features and labels of this rank's images of a loader.

        Args:
            loader: As the gallery's.
            embed: Gives a batch's data samples, with ``feature`` (D,).
            name: What the progress is that of.
        """
        features, labels, files, told, left_out = [], [], [], [], []
        for data_batch in track(loader, name):
            with autocast(enabled=self.fp16):
                samples = embed(data_batch)
            if any('feature' not in sample for sample in samples):
                raise KeyError(
                    'The samples that the model returned have no `feature`: a '
                    'gallery needs a model whose predict mode adds one, as '
                    'DINO does.')
            rows = torch.stack([sample.feature for sample in samples])
            features.append(rows.float().cpu())
            labels += [
                int(sample.gt_label) if 'gt_label' in sample else None
                for sample in samples
            ]
            files += [file_key(sample.get('img_path')) for sample in samples]
            told += [sample.get('sample_idx') for sample in samples]
            left_out += [sample.get('unreadable') for sample in samples]
            self.runner.call_hook('after_gallery_iter')
        if not features:
            raise ValueError('gallery_dataloader gave no batch: its data set '
                             'is empty or smaller than a dropped batch.')
        placing = place_samples(told, [not name for name in left_out],
                                len(loader.dataset))
        left_out = gather_names([name for name in left_out if name])
        if not placing.size:
            raise ValueError('None of the gallery\'s images can be read; the '
                             f'first is {left_out[0]}.')
        say_left_out('gallery images', left_out)
        labels = None if None in labels else torch.tensor(labels)
        return Gallery.placed(
            torch.cat(features), labels, torch.tensor(files), placing,
            left_out)


def say_left_out(what: str, names: Sequence[str]) -> None:
    """Warn of images that could not be read, by name."""
    if names:
        shown = ', '.join(names[:100]) + (', ...' if len(names) > 100 else '')
        print_log(
            f'{len(names)} {what} could not be read and are left out: {shown}',
            logger='current',
            level=logging.WARNING)


@LOOPS.register_module()
class GalleryValLoop(_GalleryMixin, ValLoop):
    """ValLoop with a ``gallery_dataloader``, see :class:`_GalleryMixin`.

    After a third of the training a warning says, once, that the network is
    below a baseline, if it is.
    """
    step = 'val_step'

    def run(self) -> dict:
        """Validate, and compare with the baselines."""
        metrics = super().run()
        runner, known = self.runner, self.runner.message_hub.runtime_info
        is_due = 3 * runner.iter >= runner.max_iters > 0
        if is_due and 'below_baseline' not in known:
            verdict = below(self.baselines, metrics)
            runner.message_hub.update_info('below_baseline', bool(verdict))
            if verdict:
                runner.logger.warning(verdict)
        return metrics


@LOOPS.register_module()
class GalleryTestLoop(_GalleryMixin, TestLoop):
    """TestLoop with a ``gallery_dataloader``, see :class:`_GalleryMixin`.

    The metrics that it returns hold those of the baselines, too:
    ``knn/k20_top1_pixels``, ``knn/k20_top1_untrained``.
    """
    step = 'test_step'

    def run(self) -> dict:
        """Measure the baselines, then the network."""
        metrics = super().run()
        return {**metrics, **as_metrics(self.baselines)}


@LOOPS.register_module()
class BaselineTestLoop(GalleryTestLoop):
    """Measure the baselines only, named as by :class:`GalleryTestLoop`."""

    def run(self) -> dict:
        """Measure raw pixels and the untrained network."""
        self.runner.call_hook('before_test')
        with seeded(0):
            self.baselines = measure_baselines(self)
        self.runner.call_hook('after_test')
        return as_metrics(self.baselines)


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
