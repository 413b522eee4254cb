"""Squared distance in the place of cross-entropy (arXiv 2104.14294, Tab. 7).

V student views, T teacher views, B images, K prototypes.
"""
import torch
from torch import Tensor

from mmdino.registry import MODELS
from .dino_loss import num_pairs
from .monitored_loss import MonitoredLoss


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
class MSELoss(MonitoredLoss):
    """Squared distance between the teacher's targets and the student.

    The distributions are those that cross-entropy compares. Its gradient is
    p times as large, hence faint as long as the student is uniform.

    Args:
        student_temp (float): Temperature of the student's softmax.

    Raises:
        ValueError: If the temperature is not positive.
    """

    def compare(self, student: Tensor, targets: Tensor) -> Tensor:
        """Compare softmax(student / student_temp) with the targets."""
        probs = (student / self.student_temp).softmax(-1)
        return mean_squared_error(probs, targets)
