"""DINO for batches whose logits do not fit into memory."""
from typing import Dict, List, Optional

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmdino.functional.losses import chunked_cross_entropy
from mmdino.models.dino import DINO, vectors_of_views
from mmdino.models.losses import DINOLoss, check_views, with_monitors
from mmdino.models.monitors import target_monitors
from mmdino.registry import MODELS


@MODELS.register_module()
class ChunkedDINO(DINO):
    """DINO whose last layer and loss take a few images at a time.

    The student's logits (V, B, K) and their gradient never exist at once;
    loss and gradients are those of :class:`DINO`, and so are the names in
    its checkpoints. tools/benchmarks/README.md has time and memory.

    Args:
        images_per_chunk (int): Images of the batch whose logits exist at
            once.
        **kwargs: Those of :class:`DINO`.

    Raises:
        ValueError: If ``images_per_chunk`` is below 1, the loss is not
            :class:`DINOLoss` itself, or the head has no bottleneck.
    """

    def __init__(self, *, images_per_chunk: int, **kwargs) -> None:
        super().__init__(**kwargs)
        if images_per_chunk < 1:
            raise ValueError('ChunkedDINO: images_per_chunk must be at least '
                             f'1, got {images_per_chunk}')
        if type(self.loss_module) is not DINOLoss:
            raise ValueError(
                'ChunkedDINO computes the loss of DINOLoss itself, got '
                f'{type(self.loss_module).__name__}: use DINO with it.')
        if not hasattr(self.head, 'project'):
            raise ValueError(
                'ChunkedDINO needs a head with a bottleneck and a linear last '
                f'layer, such as DINOHead; got {type(self.head).__name__}.')
        self.images_per_chunk = images_per_chunk

    def loss(
            self,
            inputs: List[Tensor],
            data_samples: Optional[List[DataSample]] = None
    ) -> Dict[str, Tensor]:
        """As :meth:`DINO.loss`."""
        features = vectors_of_views(self._parts(), inputs)
        targets = self.centering(self._teacher_logits(inputs))
        with torch.autocast(features.device.type, enabled=False):
            weight = self.head.last_layer.weight
            vectors = self.head.project(features.to(weight.dtype))
            vectors = vectors.unflatten(0, (len(inputs), -1))
            check_views(vectors, targets)
            loss = chunked_cross_entropy(vectors, weight,
                                         targets.to(weight.dtype),
                                         self.loss_module.student_temp,
                                         self.images_per_chunk)
        losses = with_monitors(loss, targets)
        losses.update(target_monitors(targets))
        return losses
