"""Writing of a data set's features to a file, as a metric."""
from collections.abc import Sequence

import torch
from mmengine.dist import is_main_process
from torch import Tensor

from mmdino.datasets.feature_rows import Features, save_features
from mmdino.evaluation.base import SampleMetric
from mmdino.evaluation.placing import (Placing, gather_objects, gather_rows,
                                       stack_rows)
from mmdino.registry import METRICS


@METRICS.register_module()
class SaveFeatures(SampleMetric):
    """Write the features of the loop's samples to one file.

    The key ``features/images`` is the number of images.

    Args:
        out: The file, see :func:`mmdino.datasets.feature_rows.save_features`.
        **kwargs: Arguments of MMEngine's ``BaseMetric``.
    """
    default_prefix = 'features'
    needs = dict(feature="the model's predict mode must add it")

    def __init__(self, out: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.out = out

    def keep(self, sample: dict) -> tuple[Tensor, int, str]:
        """Return the feature (D,), on the CPU, the label or -1, and the file
        name."""
        label, path = sample.get('gt_label'), sample.get('img_path') or ''
        label = -1 if label is None else int(label)
        return sample['feature'].float().cpu().clone(), label, path

    def evaluate_ranks(self, placing: Placing,
                       left_out: Sequence[str]) -> dict[str, float]:
        """Gather the samples of all ranks in order and write them."""
        features, labels, paths = zip(*self.results) if self.results else ((),
                                                                           (),
                                                                           ())
        where = placing.own, placing.size
        features = gather_rows(stack_rows(features), *where)
        labels = gather_rows(torch.tensor(labels, dtype=torch.int64), *where)
        paths = gather_objects(paths, placing.own, self.collect_device,
                               self.collect_dir)
        if is_main_process():
            known = bool((labels >= 0).all())
            classes = (self.dataset_meta or {}).get('classes')
            save_features(
                self.out,
                Features(features, labels if known else None, paths,
                         list(classes) if classes else None, placing.indices,
                         list(left_out)))
        return self.with_prefix(self.compute_metrics(features))

    def compute_metrics(self, results: Tensor) -> dict[str, float]:
        """Return the number of images."""
        return dict(images=len(results))
