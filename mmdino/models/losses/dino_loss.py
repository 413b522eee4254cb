"""The loss of DINO (Caron et al. 2021, Eq. 3) and its two monitors.

V student views, T teacher views, B images, K prototypes.
"""
import math
from typing import Dict

import torch
import torch.nn as nn
from torch import Tensor

from mmdino.registry import MODELS


def dino_cross_entropy(student_log_probs: Tensor, targets: Tensor) -> Tensor:
    r"""Cross-entropy over all pairs of different views.

    .. math:: \frac{-1}{|P|B} \sum_{(t,s) \in P} \sum_b \sum_k
              q_{tbk} \log p_{sbk}, \quad P = \{(t, s): t \ne s\}

    The sum over student views is taken before the product. It leaves view t
    out rather than subtract it again, which would cancel large logits.

    Args:
        student_log_probs (Tensor): log p, shape (V, B, K). The first T views
            are the teacher's views.
        targets (Tensor): q, shape (T, B, K), T <= V.

    Returns:
        Tensor: Scalar, the mean over images and over the T (V - 1) pairs.
    """
    num_views, num_images = student_log_probs.shape[:2]
    num_targets = targets.shape[0]
    shared, rest = student_log_probs.split(
        (num_targets, num_views - num_targets))
    rest = rest.sum(0)
    others = torch.stack([
        rest + shared[:t].sum(0) + shared[t + 1:].sum(0)
        for t in range(num_targets)
    ])
    num_pairs = num_targets * (num_views - 1)
    return -(targets * others).sum() / (num_pairs * num_images)


def entropy(probs: Tensor) -> Tensor:
    """Mean entropy in nats of distributions (..., K) along the last axis."""
    return torch.special.entr(probs).sum(-1).mean()


@MODELS.register_module()
class DINOLoss(nn.Module):
    """Cross-entropy between the teacher's targets and the student.

    Computed in float32 at least, also under autocast.

    Args:
        student_temp (float): Temperature of the student's softmax.

    Raises:
        ValueError: If the temperature is not positive.
    """

    def __init__(self, student_temp: float = 0.1) -> None:
        super().__init__()
        if not 0 < student_temp < math.inf:
            raise ValueError(
                f'{type(self).__name__}: student_temp must be > 0, got '
                f'{student_temp}')
        self.student_temp = student_temp

    def forward(self, student: Tensor, targets: Tensor) -> Dict[str, Tensor]:
        """Compute the loss and what shows whether training has collapsed.

        Args:
            student (Tensor): Logits, shape (V, B, K).
            targets (Tensor): The teacher's distributions, shape (T, B, K).

        Returns:
            dict[str, Tensor]: Scalars ``loss``; ``teacher_entropy`` and
            ``kl``, KL(teacher || student), in nats and without gradient
            (Sec. 5.3: entropy ln K is the uniform output, KL 0 a collapse).

        Raises:
            ValueError: If there are fewer than two student views, or more
                teacher than student views.
        """
        _check_views(student, targets)
        with torch.autocast(student.device.type, enabled=False):
            log_probs = (_upcast(student) / self.student_temp).log_softmax(-1)
            loss = dino_cross_entropy(log_probs, _upcast(targets))
            teacher_entropy = entropy(_upcast(targets))
        return dict(
            loss=loss,
            teacher_entropy=teacher_entropy,
            kl=loss.detach() - teacher_entropy)


def _upcast(tensor: Tensor) -> Tensor:
    """To float32, unless it is float64 already."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _check_views(student: Tensor, targets: Tensor) -> None:
    if student.shape[0] < 2 or student.shape[0] < targets.shape[0]:
        raise ValueError(
            'DINOLoss needs at least two student views, the teacher\'s among '
            f'them; got {student.shape[0]} student and {targets.shape[0]} '
            'teacher views. Add views to MultiCrop.')
