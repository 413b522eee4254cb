"""Not a measure: keeps the features that all measures start from."""
from typing import Any, Dict, List, Sequence, Tuple

import torch
from mmengine.dist import collect_results, is_main_process
from mmengine.evaluator import BaseMetric
from torch import Tensor

from mmdino.datasets.feature_rows import Features, save_features
from mmdino.evaluation.gallery import gather_rows
from mmdino.registry import METRICS


@METRICS.register_module()
class SaveFeatures(BaseMetric):
    """Write the features of the loop's samples to one file.

    The key ``features/images`` says how many there were.

    Args:
        out: The file, see :func:`mmdino.evaluation.save_features`.
        **kwargs: ``collect_device``, ``prefix`` and ``collect_dir`` of
            BaseMetric.
    """
    default_prefix = 'features'

    def __init__(self, out: str, **kwargs) -> None:
        super().__init__(**kwargs)
        self.out = out

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collect features, labels and names on the CPU."""
        for sample in data_samples:
            label = sample.get('gt_label')
            self.results.append((sample['feature'].float().cpu().clone(),
                                 -1 if label is None else int(label),
                                 sample.get('img_path') or ''))

    def evaluate(self, size: int) -> Dict[str, float]:
        """Gather the ranks' samples in the data set's order and write them.

        Args:
            size: Number of samples; those beyond it are duplicates.
        """
        if not self.results:
            raise ValueError('There is no image to save the features of: is '
                             'the data set empty?')
        features, labels, paths = zip(*self.results)
        self.results.clear()
        rows = (gather_rows(torch.stack(features),
                            size), gather_rows(torch.tensor(labels), size))
        paths = collect_results(list(paths), size, self.collect_device)
        if is_main_process():
            self._write(*rows, paths)
        return self.compute_metrics(rows)

    def compute_metrics(self, results: Tuple[Tensor,
                                             Tensor]) -> Dict[str, float]:
        """The number of images."""
        return {f'{self.prefix}/images': len(results[0])}

    def _write(self, features: Tensor, labels: Tensor,
               paths: List[str]) -> None:
        known = bool((labels >= 0).all())
        classes = (self.dataset_meta or {}).get('classes')
        save_features(
            self.out,
            Features(features, labels if known else None, paths,
                     list(classes) if classes else None))
