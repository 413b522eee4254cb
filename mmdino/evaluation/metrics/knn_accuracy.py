"""k-NN accuracy against a gallery (arXiv 2104.14294, section 4)."""
from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.device import get_device
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.functional import KNNPrediction, knn_predict
from mmdino.progress import track
from mmdino.registry import METRICS


@METRICS.register_module()
class KNNAccuracy(BaseMetric):
    """Top-1 and top-5 accuracy of weighted nearest neighbours, in percent.

    It needs no training, hence it is what DINO watches during pretraining.
    The gallery comes from :class:`GalleryValLoop` or
    :class:`GalleryTestLoop`, the queries are the loop's own samples. Keys are
    ``knn/k20_top1`` and the like; top-5 is left out where the gallery has at
    most 5 classes and it would say nothing.

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
        self.gallery: Optional[Tuple[Tensor, Tensor]] = None

    def set_gallery(self, features: Tensor, labels: Optional[Tensor]) -> None:
        """Take the images that vote.

        Args:
            features: (G, D).
            labels: (G,) integers from 0.
        """
        if labels is None or (labels < 0).any():
            raise ValueError(
                'KNNAccuracy needs a label for every gallery image, but '
                f'{"none" if labels is None else "not each"} has one. Use a '
                'gallery_dataloader with class sub-folders or annotations.')
        if len(features) < max(self.k):
            print_log(
                f'The gallery has {len(features)} images: k-NN with larger k '
                'uses all of them.',
                logger='current')
        self.gallery = (features, labels)

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

    def compute_metrics(self, results: List[Tuple[Tensor,
                                                  int]]) -> Dict[str, float]:
        """Accuracies in percent, by ``k{k}_top1`` and ``k{k}_top5``."""
        if not results:
            raise ValueError('KNNAccuracy got no query: is the validation '
                             'data set empty?')
        features, labels = zip(*results)
        gallery_features, gallery_labels = self.gallery
        predictions = knn_predict(
            torch.stack(features),
            gallery_features,
            gallery_labels,
            self.k,
            self.temperature,
            device=self.device or get_device(),
            progress=partial(track, name='k-NN'))
        ranks = [1, 5] if len(gallery_labels.unique()) > 5 else [1]
        truth = torch.tensor(labels)
        return {
            f'k{k}_top{rank}': _accuracy(prediction, truth, rank)
            for k, prediction in predictions.items()
            for rank in ranks
        }

    def evaluate(self, size: int) -> Dict[str, float]:
        """Score the collected queries, then let the gallery go.

        Its features are those of a network that training will change.
        """
        try:
            return super().evaluate(size)
        finally:
            self.gallery = None


def _accuracy(prediction: KNNPrediction, truth: Tensor, rank: int) -> float:
    hit = (prediction.classes[:, :rank] == truth[:, None]).any(dim=1)
    return 100. * hit.double().mean().item()
