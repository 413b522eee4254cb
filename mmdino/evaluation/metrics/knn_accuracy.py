"""k-NN accuracy against a gallery (arXiv 2104.14294, section 4)."""
from functools import partial
from typing import Any, Dict, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.dist import all_gather, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.gallery import Gallery, gather_rows
from mmdino.functional.knn import (KNNPrediction, merge_neighbours,
                                   nearest_neighbours, vote)
from mmdino.registry import METRICS
from mmdino.utils.progress import track

QUERY_BLOCK = 1024  # queries whose neighbours of all ranks are merged at once


@METRICS.register_module()
class KNNAccuracy(BaseMetric):
    """Top-1 and top-5 accuracy of weighted nearest neighbours, in percent.

    It needs no training, hence it is what DINO watches during pretraining.
    The gallery comes from :class:`GalleryValLoop` or
    :class:`GalleryTestLoop`, the queries are the loop's own samples. Keys are
    ``knn/k20_top1`` and the like; top-5 is left out where the gallery has at
    most 5 classes and it would say nothing.

    A rank holds its share of the gallery, the gallery's labels, all queries
    and their neighbours: of ImageNet over 8 ranks 0.25 GB of a ViT-S's
    gallery features, 10 MB, 77 MB and 160 MB.

    Args:
        k: Numbers of neighbours, all from one pass. One that is larger than
            the gallery means the whole gallery.
        temperature: Votes are exp(similarity / temperature).
        device: Where to compare; by default a GPU if there is one.
        **kwargs: ``collect_device``, ``prefix`` and ``collect_dir`` of
            BaseMetric.
    """
    default_prefix = 'knn'

    def __init__(self,
                 k: Sequence[int] = (10, 20, 100, 200),
                 temperature: float = 0.07,
                 device: Optional[str] = None,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if not k or min(k) < 1:
            raise ValueError(f'k must be positive integers, got {k}.')
        self.k = sorted(set(k))
        self.temperature = temperature
        self.device = device
        self.gallery: Optional[Gallery] = None

    def set_gallery(self, gallery: Gallery) -> None:
        """Take the images that vote: this rank's share of them."""
        labels = gallery.labels
        if labels is None or (labels < 0).any():
            raise ValueError(
                'KNNAccuracy needs a label for every gallery image, but '
                f'{"none" if labels is None else "not each"} has one. Use a '
                'gallery_dataloader with class sub-folders or annotations.')
        if gallery.size < max(self.k):
            print_log(
                f'The gallery has {gallery.size} images: k-NN with larger k '
                'uses all of them.',
                logger='current')
        self.gallery = gallery

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collect the queries' features and labels on the CPU."""
        if self.gallery is None:
            raise RuntimeError(
                'KNNAccuracy has no gallery. Set val_cfg=dict(type='
                "'GalleryValLoop', gallery_dataloader=...), or "
                "'GalleryTestLoop' in test_cfg.")
        for sample in data_samples:
            for key, cause in (('feature',
                                'the model\'s predict mode must add it'),
                               ('gt_label', 'the queries must have classes')):
                if sample.get(key) is None:
                    raise KeyError(
                        f'KNNAccuracy found no `{key}` in the sample of '
                        f'{sample.get("img_path", "an image")}: {cause}.')
            # A clone, since pickling a row of a batch pickles the batch.
            self.results.append((sample['feature'].float().cpu().clone(),
                                 int(sample['gt_label'])))

    def evaluate(self, size: int) -> Dict[str, float]:
        """Score the queries of all ranks, then let the gallery go.

        Its features are those of a network that training will change.

        Args:
            size: Number of queries; those beyond it are duplicates.

        Returns:
            The same on every rank.
        """
        try:
            metrics = self.compute_metrics(self._gather_queries(size))
        finally:
            self.gallery = None
            self.results.clear()
        return {f'{self.prefix}/{key}': v for key, v in metrics.items()}

    def compute_metrics(self, results: Tuple[Tensor,
                                             Tensor]) -> Dict[str, float]:
        """Accuracies in percent, by ``k{k}_top1`` and ``k{k}_top5``.

        Args:
            results: Features (Q, D) and labels (Q,) of all queries.
        """
        queries, truth = results
        labels = self.gallery.all_labels()
        predictions = vote(*self._neighbours(queries), labels, self.k,
                           self.temperature)
        ranks = [1, 5] if len(labels.unique()) > 5 else [1]
        return {
            f'k{k}_top{rank}': _accuracy(prediction, truth, rank)
            for k, prediction in predictions.items()
            for rank in ranks
        }

    def _gather_queries(self, size: int) -> Tuple[Tensor, Tensor]:
        """Features (Q, D) and labels (Q,) of the queries of all ranks."""
        if not self.results or not size:
            raise ValueError('KNNAccuracy got no query: is the validation '
                             'data set empty?')
        features, labels = zip(*self.results)
        return (gather_rows(torch.stack(features),
                            size), gather_rows(torch.tensor(labels), size))

    def _neighbours(self, queries: Tensor) -> Tuple[Tensor, Tensor]:
        """Similarities and places (Q, k) of the nearest of all ranks."""
        k = min(max(self.k), self.gallery.size)
        similarities, places = nearest_neighbours(
            queries,
            self.gallery.features,
            k,
            device=self.device or get_device(),
            progress=partial(track, name='k-NN'))
        places = self.gallery.places[places]
        if get_world_size() == 1:
            return similarities, places
        # A share of less than k images leaves columns to fill.
        similarities = _widen(similarities, k, -torch.inf)
        places = _widen(places, k, self.gallery.size)
        blocks = zip(
            similarities.split(QUERY_BLOCK), places.split(QUERY_BLOCK))
        merged = [
            merge_neighbours(
                *(torch.cat(all_gather(part), dim=1) for part in block), k)
            for block in blocks
        ]
        similarities, places = map(torch.cat, zip(*merged))
        return similarities, places


def _widen(rows: Tensor, width: int, value: float) -> Tensor:
    return F.pad(rows, (0, width - rows.shape[1]), value=value)


def _accuracy(prediction: KNNPrediction, truth: Tensor, rank: int) -> float:
    hit = (prediction.classes[:, :rank] == truth[:, None]).any(dim=1)
    return 100. * hit.double().mean().item()
