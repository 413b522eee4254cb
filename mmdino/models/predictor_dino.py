"""DINO with a predictor on the student (arXiv 2104.14294, Tab. 7)."""
from typing import List

import torch
from torch import Tensor

from mmdino.models.dino import DINO, _logits
from mmdino.registry import MODELS


@MODELS.register_module()
class PredictorDINO(DINO):
    """DINO whose student predicts the teacher's projection.

    The predictor stands between the bottleneck and the prototypes, of the
    student alone: the teacher has none to follow.

    Args:
        predictor (dict): Config of the :class:`Predictor`, without
            ``channels``.
        **kwargs: Those of :class:`DINO`.

    Raises:
        ValueError: If the head has no bottleneck.
    """

    def __init__(self, *, predictor: dict, **kwargs) -> None:
        super().__init__(**kwargs)
        if not hasattr(self.head, 'project'):
            raise ValueError(
                'PredictorDINO needs a head with a bottleneck, such as '
                f'DINOHead; {type(self.head).__name__} has none.')
        self.predictor = MODELS.build(
            dict(predictor, channels=self.head.last_layer.in_features))

    def _student_logits(self, views: List[Tensor]) -> Tensor:
        """Logits (V, B, K) of all views."""
        return _logits(dict(self._parts(), head=self._predict), views)

    def _predict(self, features: Tensor) -> Tensor:
        """Logits (B, K) of features (B, D), in the head's precision."""
        head = self.head
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(head.last_layer.weight.dtype)
            return head.last_layer(self.predictor(head.project(features)))
