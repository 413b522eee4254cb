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

    ``rank/rankme`` is between 1, all images alike, and the width D of the
    features or the number of images. In the paper it goes with the accuracy
    among trainings of one network; one that falls shows that dimensions
    collapse. Compare it on the same images and the same width alone. The
    authors take 25,600 images; with few the figure depends on their number,
    which the log says below ten images a dimension.

    Source: Garrido et al. 2023, https://arxiv.org/abs/2210.02885

    Args:
        **kwargs: Those of BaseMetric.
    """
    default_prefix = 'rank'
    needs = dict(feature="the model's predict mode must add it")
    _told_few = False

    def keep(self, sample: dict) -> Tensor:
        """Return the feature (D,), on the CPU."""
        return sample['feature'].float().cpu().clone()

    def evaluate_ranks(self, placing: Placing,
                       left_out: Sequence[str]) -> dict[str, float]:
        """Gather the features of all ranks."""
        features = gather_rows(
            stack_rows(self.results), placing.own, placing.size)
        return self.with_prefix(self.compute_metrics(features))

    def compute_metrics(self, results: Tensor) -> dict[str, float]:
        """Compute the rank of features (N, D)."""
        results = torch.as_tensor(results)
        if len(results) < 10 * results.shape[1] and not self._told_few:
            self._told_few = True
            print_log(
                f'RankMe of {len(results)} images with '
                f'{results.shape[1]} features each: compare it among runs on '
                'the same images alone.',
                logger='current')
        return dict(rankme=rankme(results))
