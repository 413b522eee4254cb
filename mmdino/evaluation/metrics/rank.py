"""RankMe of the features of a data set, which needs no labels."""
from collections.abc import Sequence

import torch
from mmengine.logging import print_log
from torch import Tensor

from mmdino.evaluation.base import SampleMetric
from mmdino.evaluation.placing import Placing, gather_rows, stack_rows
from mmdino.functional.rank import rankme
from mmdino.registry import METRICS


@METRICS.register_module()
class RankMe(SampleMetric):
    """RankMe, the effective rank of the features, for data without labels.

    The key is ``rank/rankme``. It is 1 if all images have the same feature,
    and at most the width D of the features or the number of images. In the
    paper it correlates with the accuracy of different trainings of one
    network; a falling value shows that dimensions collapse. Only values of the
    same images and the same width can be compared. The authors use 25,600
    images. With few images the value depends on their number; below ten images
    for each dimension the log says so.

    Source: Garrido et al. 2023, https://arxiv.org/abs/2210.02885

    Args:
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

    Raises:
        ValueError: In ``evaluate``, if a feature is not finite.
    """
    default_prefix = 'rank'
    needs = dict(feature="the model's predict mode must add it")
    _told_few = False

    def keep(self, sample: dict) -> Tensor:
        """Return the feature (D,) on the CPU."""
        return sample['feature'].float().cpu().clone()

    def evaluate_ranks(self, placing: Placing,
                       left_out: Sequence[str]) -> dict[str, float]:
        """Gather the features of all ranks and compute their rank."""
        features = gather_rows(
            stack_rows(self.results), placing.own, placing.size)
        return self.with_prefix(self.compute_metrics(features))

    def compute_metrics(self, results: Tensor) -> dict[str, float]:
        """Compute the rank of features (N, D)."""
        results = torch.as_tensor(results)
        if len(results) < 10 * results.shape[1] and not self._told_few:
            self._told_few = True
            print_log(
                f'RankMe is computed from {len(results)} images, fewer than '
                f'ten for each of the {results.shape[1]} features: compare it '
                'only between runs with the same images.',
                logger='current')
        return dict(rankme=rankme(results))
