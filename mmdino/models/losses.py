"""The losses of DINO (Caron et al. 2021, Eq. 3 and Tab. 7).

V student views, T teacher views, B images, K prototypes.
"""
import math
from abc import ABCMeta, abstractmethod
from typing import Dict

import torch
import torch.nn as nn
from mmengine.dist import all_gather, get_rank
from torch import Tensor

from mmdino.functional.losses import (at_least_float32, dino_cross_entropy,
                                      entropy, info_nce, mean_squared_error)
from mmdino.registry import MODELS


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
        check_views(student, targets)
        with torch.autocast(student.device.type, enabled=False):
            loss = dino_cross_entropy(
                at_least_float32(student), at_least_float32(targets),
                self.student_temp)
        return with_monitors(loss, targets)


def with_monitors(loss: Tensor, targets: Tensor) -> Dict[str, Tensor]:
    """The cross-entropy and what it consists of, for the log."""
    teacher_entropy = entropy(at_least_float32(targets))
    return dict(
        loss=loss,
        teacher_entropy=teacher_entropy,
        kl=loss.detach() - teacher_entropy)


def check_views(student: Tensor, targets: Tensor) -> None:
    """Refuse views (V, ...) and targets (T, ...) that make no pairs."""
    if student.shape[0] < 2 or student.shape[0] < targets.shape[0]:
        raise ValueError(
            'DINOLoss needs at least two student views, the teacher\'s among '
            f'them; got {student.shape[0]} student and {targets.shape[0]} '
            'teacher views. Add views to MultiCrop.')


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


@MODELS.register_module()
class InfoNCELoss(MonitoredLoss):
    """Tells an image's target from those of the other images on all ranks.

    Every rank needs the same number of images.

    Args:
        student_temp (float): Temperature of the similarities.

    Raises:
        ValueError: If the temperature is not positive.
    """

    def compare(self, student: Tensor, targets: Tensor) -> Tensor:
        """Compare with the targets of all ranks."""
        everyone = torch.cat(all_gather(targets), dim=1)
        return info_nce(student / self.student_temp, everyone,
                        get_rank() * student.shape[1])
