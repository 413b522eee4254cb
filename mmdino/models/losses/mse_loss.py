"""Squared distance in the place of cross-entropy (arXiv 2104.14294, Tab. 7).

V student views, T teacher views, B images, K prototypes.
"""
from typing import Dict

import torch
from torch import Tensor

from mmdino.registry import MODELS
from ..precision import at_least_float32
from .dino_loss import DINOLoss, num_pairs


def mean_squared_error(student_probs: Tensor, targets: Tensor) -> Tensor:
    r"""Squared Euclidean distance over all pairs of different views.

    .. math:: \frac{1}{|P|B} \sum_{(t,s) \in P} \sum_b \|q_{tb} - p_{sb}\|^2,
              \quad P = \{(t, s): t \ne s\}

    Args:
        student_probs (Tensor): p, shape (V, B, K). The first T views are the
            teacher's views.
        targets (Tensor): q, shape (T, B, K), T <= V.

    Returns:
        Tensor: Scalar in [0, 2], the mean over images and over pairs.
    """
    total = sum((torch.cat([student_probs[:t], student_probs[t + 1:]]) -
                 target).square().sum() for t, target in enumerate(targets))
    pairs = num_pairs(student_probs, targets)
    return total / (pairs * student_probs.shape[1])


@MODELS.register_module()
class MSELoss(DINOLoss):
    """Squared distance between the teacher's targets and the student.

    The distributions are those that cross-entropy compares. Its gradient is
    p times as large, hence faint as long as the student is uniform.

    Args:
        student_temp (float): Temperature of the student's softmax.

    Raises:
        ValueError: If the temperature is not positive.
    """

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
            probs = at_least_float32(student) / self.student_temp
            losses['loss'] = mean_squared_error(
                probs.softmax(-1), at_least_float32(targets))
        return losses
