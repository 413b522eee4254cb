"""Validation and test loops that embed a gallery to compare with.

G images in all, G' on this rank, D features, W ranks.
"""
from typing import Dict, List, NamedTuple, Optional, Tuple, Union

import torch
from mmengine.dist import all_gather, all_reduce, get_rank, get_world_size
from mmengine.evaluator import Evaluator
from mmengine.runner import TestLoop, ValLoop, autocast
from torch import Tensor
from torch.utils.data import DataLoader

from mmdino.engine.hooks.classes import check_classes
from mmdino.registry import LOOPS
from mmdino.utils.progress import track


class Gallery(NamedTuple):
    """This rank's share of a gallery.

    Attributes:
        features: (G', D) float32, on the CPU.
        labels: (G',) integers from 0, or None without ground truth.
        places: (G',) where the images stand in the whole gallery.
        size: G.
    """
    features: Tensor
    labels: Optional[Tensor]
    places: Tensor
    size: int

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
        if self.labels is None:
            return None
        return gather_rows(self.labels, self.size)

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

    Every metric with a ``set_gallery(gallery)`` gets this rank's share of the
    gallery (:class:`mmdino.evaluation.gallery.Gallery`).

    Hooks that swap the weights for an evaluation (MMEngine's EMAHook) have
    done so by then.

    Args:
        runner: The runner.
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
        """Embed the gallery before the first batch of queries."""
        if idx == 0:
            self.give_gallery()
        super().run_iter(idx, data_batch)

    def give_gallery(self) -> None:
        """Embed the gallery for the metrics that take one, if any."""
        metrics = [
            metric for metric in self.evaluator.metrics
            if hasattr(metric, 'set_gallery')
        ]
        if metrics:
            gallery = self.embed_gallery()
            for metric in metrics:
                metric.set_gallery(gallery)

    @torch.no_grad()
    def embed_gallery(self) -> Gallery:
        """Features and labels of this rank's images."""
        self.runner.model.eval()
        embed = getattr(self.runner.model, self.step)
        features, labels = [], []
        for data_batch in track(self.gallery_dataloader, 'Gallery'):
            with autocast(enabled=self.fp16):
                samples = embed(data_batch)
            features.append(_stack_features(samples))
            labels.append(_stack_labels(samples))
            self.runner.call_hook('after_gallery_iter')
        if not features:
            raise ValueError('gallery_dataloader gave no batch: its data set '
                             'is empty or smaller than a dropped batch.')
        unlabelled = any(label is None for label in labels)
        return Gallery.of_rank(
            torch.cat(features), None if unlabelled else torch.cat(labels),
            len(self.gallery_dataloader.dataset))


@LOOPS.register_module()
class GalleryValLoop(_GalleryMixin, ValLoop):
    """ValLoop with a ``gallery_dataloader``, see :class:`_GalleryMixin`."""
    step = 'val_step'


@LOOPS.register_module()
class GalleryTestLoop(_GalleryMixin, TestLoop):
    """TestLoop with a ``gallery_dataloader``, see :class:`_GalleryMixin`."""
    step = 'test_step'


def _stack_features(samples: list) -> Tensor:
    """Features (B, D) of a batch, float32, on the CPU."""
    if any('feature' not in sample for sample in samples):
        raise KeyError(
            'The samples that the model returned have no `feature`: a gallery '
            'needs a model whose predict mode adds one, as DINO does.')
    return torch.stack([sample.feature for sample in samples]).float().cpu()


def _stack_labels(samples: list) -> Optional[Tensor]:
    """Labels (B,) of a batch, or None if an image has none."""
    if any('gt_label' not in sample for sample in samples):
        return None
    return torch.tensor([int(sample.gt_label) for sample in samples])
