"""Jaccard index of self-attention and objects (arXiv 2104.14294, 4.2.2)."""

import torch
from torch import Tensor

from mmdino.evaluation.base import SampleMetric
from mmdino.evaluation.baselines import UNTRAINED
from mmdino.functional.attention import attention_jaccard
from mmdino.registry import METRICS


@METRICS.register_module()
class AttentionJaccard(SampleMetric):
    """Mean Jaccard index of objects and the best head's attention, a fraction.

    The key is ``attention/jaccard``. Samples need ``attention`` (heads, h, w),
    which the model's predict mode adds with ``predict_attention=True``, and
    ``gt_mask`` (H, W): 0 is background, each object has a number of its own.

    Args:
        mass: Fraction of each head's attention that its mask keeps.
        ignore_index: Pixels with this number are left out.
        **kwargs: Arguments of MMEngine's ``BaseMetric``.

    Raises:
        ValueError: In ``evaluate``, if no mask has an object.
    """
    default_prefix = 'attention'
    baselines = (UNTRAINED, )
    needs = dict(
        attention='build the model with predict_attention=True',
        gt_mask='the data set must give masks and PackInputs must pack them '
        "(algorithm_keys=('gt_mask', ))")

    def __init__(self,
                 mass: float = 0.6,
                 ignore_index: int = 255,
                 **kwargs) -> None:
        super().__init__(**kwargs)
        self.mass = mass
        self.ignore_index = ignore_index

    def keep(self, sample: dict) -> Tensor:
        """Compute the Jaccard indices of the objects in an image."""
        attention = sample['attention'].float()
        mask = torch.as_tensor(sample['gt_mask'], device=attention.device)
        return attention_jaccard(attention, mask, self.mass,
                                 self.ignore_index).cpu()

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """Average over all objects of all images."""
        objects = torch.cat(results)
        if not len(objects):
            raise ValueError(
                f'AttentionJaccard found no object in {len(results)} masks: '
                f'all pixels are background or {self.ignore_index}.')
        return {'jaccard': objects.mean().item()}
