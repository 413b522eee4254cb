"""k-NN accuracy against a gallery (arXiv 2104.14294, section 4)."""
from functools import partial
from typing import Dict, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.dist import all_gather, get_world_size
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.gallery import Gallery, GalleryMetric, gather_rows
from mmdino.functional.knn import (merge_neighbours, nearest_neighbours,
                                   top_accuracy, vote)
from mmdino.registry import METRICS
from mmdino.utils.progress import track

QUERY_BLOCK = 1024  # queries whose neighbours of all ranks are merged at once


@METRICS.register_module()
class KNNAccuracy(GalleryMetric):
    """Top-1 and top-5 accuracy of weighted nearest neighbours, in percent.

    It needs no training, hence it is what DINO watches during pretraining.
    The queries are the samples of the loop that gives the gallery. Keys are
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
        **kwargs: Those of BaseMetric.
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

    def set_gallery(self, gallery: Gallery) -> None:
        """Take the images that vote: this rank's share of them."""
        self.check_labels(gallery)
        if gallery.size < max(self.k):
            print_log(
                f'The gallery has {gallery.size} images: k-NN with larger k '
                'uses all of them.',
                logger='current')
        self.gallery = gallery

    def evaluate_ranks(self, size: int) -> Dict[str, float]:
        """Score on every rank, since each has a share of the gallery."""
        features, labels = zip(*self.results)
        queries = gather_rows(torch.stack(features), size)
        truth = gather_rows(torch.tensor(labels), size)
        metrics = self.compute_metrics((queries, truth))
        return {f'{self.prefix}/{key}': v for key, v in metrics.items()}

    def compute_metrics(self, results: Tuple[Tensor,
                                             Tensor]) -> Dict[str, float]:
        """Accuracies of all queries: features (Q, D) and labels (Q,)."""
        queries, truth = results
        labels = self.gallery.all_labels()
        predictions = vote(*self._neighbours(queries), labels, self.k,
                           self.temperature)
        num_classes = len(labels.unique())
        return {
            f'k{k}_{key}': value
            for k, prediction in predictions.items()
            for key, value in top_accuracy(prediction.classes, truth,
                                           num_classes).items()
        }

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
        missing = (0, k - places.shape[1])
        similarities = F.pad(similarities, missing, value=-torch.inf)
        places = F.pad(places, missing, value=self.gallery.size)
        merged = [
            merge_neighbours(
                *(torch.cat(all_gather(part), dim=1) for part in block), k)
            for block in zip(
                similarities.split(QUERY_BLOCK), places.split(QUERY_BLOCK))
        ]
        similarities, places = map(torch.cat, zip(*merged))
        return similarities, places
