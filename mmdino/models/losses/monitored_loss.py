"""What the losses in the place of cross-entropy have in common."""
from abc import ABCMeta, abstractmethod
from typing import Dict

import torch
from torch import Tensor

from ..precision import at_least_float32
from .dino_loss import DINOLoss


class MonitoredLoss(DINOLoss, metaclass=ABCMeta):
    """Another loss beside the monitors of cross-entropy.

    Computed in float32 at least, also under autocast.

    Args:
        student_temp (float): Temperature of the student.

    Raises:
        ValueError: If the temperature is not positive.
    """

    @abstractmethod
    def compare(self, student: Tensor, targets: Tensor) -> Tensor:
        """The loss, a scalar, of logits (V, B, K) and targets (T, B, K)."""

    def forward(self, student: Tensor, targets: Tensor) -> Dict[str, Tensor]:
        """Compute the loss, beside the monitors of cross-entropy.

        Args:
            student (Tensor): Logits, shape (V, B, K).
            targets (Tensor): The teacher's distributions, shape (T, B, K).

        Returns:
            dict[str, Tensor]: ``loss``; ``teacher_entropy`` and ``kl`` as
            :class:`DINOLoss` gives them.
        """
        losses = super().forward(student.detach(), targets)
        with torch.autocast(student.device.type, enabled=False):
            losses['loss'] = self.compare(
                at_least_float32(student), at_least_float32(targets))
        return losses
