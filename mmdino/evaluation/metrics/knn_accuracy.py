"""k-NN accuracy against a gallery (arXiv 2104.14294, section 4)."""
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from mmengine.device import get_device
from mmengine.dist import all_gather, get_world_size
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.base import Gallery, GalleryMetric
from mmdino.evaluation.baselines import PIXELS, UNTRAINED
from mmdino.evaluation.placing import (Placing, file_key, gather_rows,
                                       stack_rows)
from mmdino.functional.knn import (merge_neighbours, nearest_neighbours,
                                   top_accuracy, vote)
from mmdino.registry import METRICS
from mmdino.utils.progress import track

# Number of queries whose neighbours on all ranks are merged at once.
QUERY_BLOCK = 1024


@METRICS.register_module()
class KNNAccuracy(GalleryMetric):
    """Top-1 and top-5 accuracy of weighted k-NN, in percent.

    It needs no training and therefore serves to monitor pretraining. The
    queries are the samples of the loop that provides the gallery. Keys are,
    for example, ``knn/k20_top1``. Top-5 is left out if the gallery has 5 or
    fewer classes, where it says nothing.

    A rank holds its share of the gallery's features, the labels of the whole
    gallery, the features of all queries and their neighbours. With ImageNet, a
    ViT-S and 8 ranks these take 0.25 GB, 10 MB, 77 MB and 160 MB.

    Args:
        k: Numbers of neighbours; the similarities are computed once for all.
            One larger than the gallery uses the whole gallery.
        temperature: Votes are exp(similarity / temperature).
        leave_out_self: Exclude a query from its own neighbours if the same
            file is in the gallery. This allows a folder to be compared with
            itself.
        device: Device of the comparison; by default a GPU if there is one.
        backend: 'torch', or 'faiss' for large galleries on CPUs, see
            :func:`.nearest_neighbours`.
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

    Raises:
        ValueError: If there is no such backend, or a ``k`` is below 1.
    """
    default_prefix = 'knn'
    baselines = (PIXELS, UNTRAINED)

    def __init__(self,
                 k: Sequence[int] = (10, 20, 100, 200),
                 temperature: float = 0.07,
                 leave_out_self: bool = False,
                 device: str | None = None,
                 backend: str = 'torch',
                 **kwargs) -> None:
        super().__init__(**kwargs)
        if backend not in ('torch', 'faiss'):
            raise ValueError("backend must be 'torch' or 'faiss', got "
                             f'{backend!r}.')
        if not k or min(k) < 1:
            raise ValueError(f'k must be positive integers, got {k}.')
        self.k = sorted(set(k))
        self.temperature = temperature
        self.leave_out_self = leave_out_self
        self.device = device
        self.backend = backend

    def set_gallery(self, gallery: Gallery) -> None:
        """Set the images that vote: this rank's share of them.

        Raises:
            ValueError: If an image has no label; with ``leave_out_self``, if
                the file of an image is not known.
        """
        self.check_labels(gallery)
        if self.leave_out_self and (gallery.files is None or
                                    (gallery.files < 0).any()):
            raise ValueError('leave_out_self needs the files of the gallery, '
                             'but its samples have no `img_path`: use a data '
                             'set of image files.')
        if gallery.size < max(self.k):
            print_log(
                f'The gallery has {gallery.size} images: k-NN with larger k '
                'uses all of them.',
                logger='current')
        self.gallery = gallery

    def keep(self, sample: dict) -> tuple[Tensor, int, int]:
        """Return the feature (D,) on the CPU, the label and the file's hash.
        """
        return *super().keep(sample), file_key(sample.get('img_path'))

    def evaluate_ranks(self, placing: Placing,
                       left_out: Sequence[str]) -> dict[str, float]:
        """Compute the metrics on every rank, each with its share of the
        gallery."""
        features, labels, files = zip(*self.results) if self.results else ((),
                                                                           (),
                                                                           ())
        rows = stack_rows(features), torch.tensor(
            labels, dtype=torch.int64), torch.tensor(
                files, dtype=torch.int64)
        return self.with_prefix(
            self.compute_metrics(
                tuple(
                    gather_rows(row, placing.own, placing.size)
                    for row in rows)))

    def compute_metrics(
            self, results: tuple[Tensor, Tensor, Tensor]) -> dict[str, float]:
        """Compute accuracies in percent.

        Args:
            results: Features (Q, D), labels (Q,) and hashes of the files (Q,)
                of all queries.
        """
        queries, truth, files = results
        labels = self.gallery.all_labels()
        neighbours = self._neighbours(queries, files)
        predictions = vote(*neighbours, labels, self.k, self.temperature)
        num_classes = len(labels.unique())
        return {
            f'k{k}_{key}': value
            for k, prediction in predictions.items()
            for key, value in top_accuracy(prediction.classes, truth,
                                           num_classes).items()
        }

    def _neighbours(self, queries: Tensor,
                    files: Tensor) -> tuple[Tensor, Tensor]:
        """Find the k nearest images in the whole gallery.

        Returns:
            Similarities and places in the gallery, both (Q, k).
        """
        more = int(self.leave_out_self)
        k = min(max(self.k) + more, self.gallery.size)
        similarities, places = nearest_neighbours(
            queries,
            self.gallery.features,
            k,
            device=self.device or get_device(),
            progress=partial(track, name='k-NN'),
            backend=self.backend)
        places = self.gallery.places[places]
        if get_world_size() > 1:
            similarities, places = self._merge(similarities, places, k)
        if not self.leave_out_self:
            return similarities, places
        is_self = self.gallery.all_files()[places] == files[:, None]
        # The query itself is moved behind the others, with a vote of 0.
        order = is_self.long().argsort(dim=1, stable=True)
        similarities = similarities.masked_fill(is_self, -torch.inf)
        return (similarities.gather(1, order)[:, :max(self.k)],
                places.gather(1, order)[:, :max(self.k)])

    def _merge(self, similarities: Tensor, places: Tensor,
               k: int) -> tuple[Tensor, Tensor]:
        """Merge the nearest images (Q, k) of all ranks."""
        # A rank with fewer than k images of the gallery pads the rest.
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
