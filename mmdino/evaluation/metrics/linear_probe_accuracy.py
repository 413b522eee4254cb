"""Accuracy of a linear probe's heads (arXiv 2104.14294, table 2)."""
from typing import Any, Dict, List, Sequence

import torch
from mmengine.evaluator import BaseMetric

from mmdino.registry import METRICS


@METRICS.register_module()
class LinearProbeAccuracy(BaseMetric):
    """Top-1 and top-5 accuracy of every head and of the best, in percent.

    Keys are ``linear/lr0.001_top1`` and the like for each learning rate, then
    ``linear/best_top1``, ``linear/best_top5`` and ``linear/best_lr``. The
    best head is that of the highest top-1, among equals of the first learning
    rate: chosen on these very images, where the official protocol fixes it.
    Top-5 is left out where there are fewer than 5 classes.

    Args:
        **kwargs: Those of BaseMetric.
    """
    default_prefix = 'linear'

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Note for each head whether its first and first 5 classes hit."""
        for sample in data_samples:
            if sample.get('gt_label') is None:
                raise KeyError(
                    'LinearProbeAccuracy found no `gt_label` in the sample '
                    f'of {sample.get("img_path", "an image")}: the data set '
                    'must have classes.')
            truth = int(sample['gt_label'])
            self.results.append({
                lr: _hits(top, truth)
                for lr, top in sample['top_classes'].items()
            })

    def compute_metrics(
            self, results: List[Dict[float, List[bool]]]) -> Dict[str, float]:
        """Accuracies in percent."""
        if not results:
            raise ValueError('LinearProbeAccuracy got no image: is the '
                             'validation data set empty?')
        accuracy = {
            lr: _percent([result[lr] for result in results])
            for lr in results[0]
        }
        best = max(accuracy, key=lambda lr: accuracy[lr]['top1'])
        named = {f'lr{lr:g}': values for lr, values in accuracy.items()}
        named['best'] = accuracy[best]
        metrics = {
            f'{name}_{key}': value
            for name, values in named.items()
            for key, value in values.items()
        }
        return dict(metrics, best_lr=best)


def _hits(top: torch.Tensor, truth: int) -> List[bool]:
    """Whether the first class is right and, of 5, whether any is."""
    hits = (top == truth).tolist()
    return [hits[0], any(hits)] if len(hits) >= 5 else [hits[0]]


def _percent(hits: List[List[bool]]) -> Dict[str, float]:
    means = torch.tensor(hits, dtype=torch.float64).mean(dim=0) * 100
    return dict(zip(('top1', 'top5'), means.tolist()))
