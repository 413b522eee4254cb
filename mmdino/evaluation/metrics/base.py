"""What metrics of samples, and of a gallery, have in common."""
from typing import Any, Dict, Sequence, Tuple

import torch
from mmengine.dist import all_reduce
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmdino.evaluation.gallery import Gallery


class SampleMetric(BaseMetric):
    """Metric that says what a sample lacks, and where there is no sample.

    A subclass names the fields it needs, says in :meth:`keep` what it keeps
    of a sample and in ``compute_metrics`` what becomes of that.

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
        """Keep what is needed of each sample; KeyError if one lacks it."""
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
        """Keep what is needed of each query; an error without a gallery."""
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
