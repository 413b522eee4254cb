"""A gallery to compare with: the loops that embed it, the metrics' base.

G images in all, G' on this rank, D features, W ranks.
"""
from typing import (Any, Dict, List, NamedTuple, Optional, Sequence, Tuple,
                    Union)

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.runner import TestLoop, ValLoop, autocast
from torch import Tensor
from torch.utils.data import DataLoader

from mmdino.engine.hooks.classes import check_classes
from mmdino.registry import LOOPS
from mmdino.utils.progress import track


class Gallery(NamedTuple):
    """This rank's share of a gallery."""
    features: Tensor  # (G', D) float32, on the CPU
    labels: Optional[Tensor]  # (G',) from 0, or None without ground truth
    places: Tensor  # (G',) where the images stand in the whole gallery
    size: int  # G

    @classmethod
    def of_rank(cls, features: Tensor, labels: Optional[Tensor],
                size: int) -> 'Gallery':
        """Take the images rank, rank + W, rank + 2 W, ... of the gallery.

        That is how MMEngine's DefaultSampler deals them without shuffling;
        the duplicates with which it fills up the ranks are dropped.
        """
        places = get_rank() + get_world_size() * torch.arange(len(features))
        own = int((places < size).sum())
        labels = None if labels is None else labels[:own]
        return cls(features[:own], labels, places[:own], size)

    def all_labels(self) -> Optional[Tensor]:
        """Labels (G,) of the whole gallery."""
        return None if self.labels is None else gather_rows(
            self.labels, self.size)

    def whole(self) -> Tuple[Tensor, Optional[Tensor]]:
        """Features (G, D) and labels (G,) of the whole gallery.

        Every rank holds all of them then: for galleries of some thousands.
        """
        return gather_rows(self.features, self.size), self.all_labels()


def gather_rows(part: Tensor, size: int) -> Tensor:
    """Join the rows of all ranks in the order of the data set.

    Args:
        part: This rank's rows, which are rank, rank + W, rank + 2 W, ... of
            the data set; ranks may have one more or less.
        size: Rows of the data set. Those beyond it are duplicates.
    """
    if get_world_size() == 1:  # spares copies of millions of rows
        return part[:size]
    longest = torch.tensor(len(part))
    all_reduce(longest, 'max')
    padded = part.new_zeros((int(longest), *part.shape[1:]))
    padded[:len(part)] = part
    counts = torch.stack(all_gather(torch.tensor(len(part))))
    filled = torch.arange(int(longest))[:, None] < counts
    rows = torch.stack(all_gather(padded), dim=1)
    return rows[filled][:size]


class _GalleryMixin:
    """Embed a gallery and give it to the metrics before the first query.

    Every metric with a ``set_gallery(gallery)`` gets this rank's share, a
    :class:`Gallery`. Hooks that swap the weights for an evaluation (MMEngine's
    EMAHook) have done so by then.

    Args:
        dataloader: The queries.
        evaluator: The metrics.
        gallery_dataloader: The gallery: a DataLoader or its config, with a
            sampler that deals samples in turn to the ranks (DefaultSampler,
            ``shuffle=False``).
        fp16: Whether to embed with autocast.
    """
    step: str

    def __init__(self,
                 runner,
                 dataloader: Union[DataLoader, Dict],
                 evaluator: Union[Evaluator, Dict, List],
                 gallery_dataloader: Union[DataLoader, Dict],
                 fp16: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.gallery_dataloader = runner.build_dataloader(
            gallery_dataloader, seed=runner.seed)
        check_classes('the queries and the gallery', self.dataloader.dataset,
                      self.gallery_dataloader.dataset)

    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Embed the gallery before the first batch, if a metric takes one."""
        metrics = [
            metric for metric in self.evaluator.metrics
            if hasattr(metric, 'set_gallery')
        ]
        if idx == 0 and metrics:
            gallery = self.embed_gallery()
            for metric in metrics:
                metric.set_gallery(gallery)
        super().run_iter(idx, data_batch)

    @torch.no_grad()
    def embed_gallery(self) -> Gallery:
        """Features and labels of this rank's images."""
        self.runner.model.eval()
        embed = getattr(self.runner.model, self.step)
        features, labels = [], []
        for data_batch in track(self.gallery_dataloader, 'Gallery'):
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
            self.runner.call_hook('after_gallery_iter')
        if not features:
            raise ValueError('gallery_dataloader gave no batch: its data set '
                             'is empty or smaller than a dropped batch.')
        return Gallery.of_rank(
            torch.cat(features),
            None if None in labels else torch.tensor(labels),
            len(self.gallery_dataloader.dataset))


@LOOPS.register_module()
class GalleryValLoop(_GalleryMixin, ValLoop):
    """ValLoop with a ``gallery_dataloader``, see :class:`_GalleryMixin`."""
    step = 'val_step'


@LOOPS.register_module()
class GalleryTestLoop(_GalleryMixin, TestLoop):
    """TestLoop with a ``gallery_dataloader``, see :class:`_GalleryMixin`."""
    step = 'test_step'


class SampleMetric(BaseMetric):
    """Metric that says what a sample lacks, and where there is no sample.

    Attributes:
        unit: What a sample is.
        needs: The fields of a sample, each with the remedy if it is missing.
    """
    unit = 'image'
    needs: Dict[str, str] = {}

    def keep(self, sample: dict) -> Any:
        """Reduce a sample to what ``compute_metrics`` gets of it."""
        raise NotImplementedError

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what is needed of each sample.

        Raises:
            KeyError: If one lacks it.
        """
        for sample in data_samples:
            for field, remedy in self.needs.items():
                if sample.get(field) is None:
                    name = sample.get('img_path') or sample.get(
                        'sequence') or f'a {self.unit}'
                    raise KeyError(f'{type(self).__name__} found no `{field}` '
                                   f'in the sample of {name}: {remedy}.')
            self.results.append(self.keep(sample))

    def evaluate(self, size: int) -> Dict[str, float]:
        """Compute the metrics of all ranks' samples; the same on every rank.

        Args:
            size: Number of samples; those beyond it are duplicates.

        Raises:
            ValueError: If no rank has a sample.
        """
        count = torch.tensor(len(self.results))
        all_reduce(count)
        try:
            if not count:
                raise ValueError(f'{type(self).__name__} got no {self.unit}: '
                                 'is the data set empty?')
            return self.evaluate_ranks(size)
        finally:
            self.results.clear()

    def evaluate_ranks(self, size: int) -> Dict[str, float]:
        """As :meth:`evaluate`, of samples that exist."""
        return super().evaluate(size)


class GalleryMetric(SampleMetric):
    """Metric of queries that are compared with a gallery.

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
        """Take the images to compare with."""
        raise NotImplementedError

    def keep(self, sample: dict) -> Tuple[Tensor, int]:
        """Feature (D,) on the CPU and label."""
        # A clone, since pickling a row of a batch pickles the batch.
        feature = sample['feature'].float().cpu().clone()
        return feature, int(sample['gt_label'])

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep what is needed of each query.

        Raises:
            RuntimeError: If no loop has given a gallery.
        """
        if self.gallery is None:
            raise RuntimeError(
                f'{type(self).__name__} has no gallery. Set val_cfg=dict(type='
                "'GalleryValLoop', gallery_dataloader=...), or "
                "'GalleryTestLoop' in test_cfg.")
        super().process(data_batch, data_samples)

    def evaluate(self, size: int) -> Dict[str, float]:
        """Compute the metrics of all ranks' queries, let the gallery go."""
        try:
            return super().evaluate(size)
        finally:
            self.gallery = None

    def check_labels(self, gallery: Gallery) -> None:
        """Refuse a gallery in which an image has no label."""
        labels = gallery.labels
        if labels is None or (labels < 0).any():
            raise ValueError(
                f'{type(self).__name__} needs a label for every gallery '
                f'image, but {"none" if labels is None else "not each"} has '
                'one. Use a gallery_dataloader with class sub-folders or '
                'annotations.')
