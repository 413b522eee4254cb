"""The loss of DINO (Caron et al. 2021, Eq. 3) and its two monitors.

V student views, T teacher views, B images, K prototypes.
"""
import math
from typing import Any, Dict, Optional, Tuple

import torch
import torch.nn as nn
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mmdino.registry import MODELS
from ..precision import at_least_float32


def dino_cross_entropy(student: Tensor, targets: Tensor,
                       temp: float) -> Tensor:
    r"""Cross-entropy over all pairs of different views.

    .. math:: \frac{-1}{|P|B} \sum_{(t,s) \in P} \sum_b \sum_k
              q_{tbk} \log p_{sbk}, \quad P = \{(t, s): t \ne s\}

    Args:
        student (Tensor): Logits, p = softmax(logits / temp), shape (V, B, K).
            The first T views are the teacher's views.
        targets (Tensor): q, constants of shape (T, B, K), T <= V.
        temp (float): Temperature of the student.

    Returns:
        Tensor: Scalar, the mean over images and over the T (V - 1) pairs. It
        can be differentiated once.
    """
    return _CrossEntropy.apply(student, targets, temp)


class _CrossEntropy(Function):
    """Keeps the gradient alone, where autograd would keep all softmaxes."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, targets: Tensor,
                temp: float) -> Tensor:
        grad = torch.empty_like(student) if ctx.needs_input_grad[0] else None
        loss = sum_cross_entropy(student, targets, temp, grad)
        pairs = num_pairs(student, targets) * student.shape[1]
        if grad is not None:
            ctx.save_for_backward(grad)
            ctx.pairs = pairs
        return loss / pairs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tuple[Tensor, None, None]:
        grad, = ctx.saved_tensors
        return grad.mul_(grad_output / ctx.pairs), None, None


def sum_cross_entropy(student: Tensor,
                      targets: Tensor,
                      temp: float,
                      grad: Optional[Tensor] = None) -> Tensor:
    """Cross-entropy summed over images and pairs, one view at a time.

    The targets of a view are summed before the product with its log p. A
    teacher view's own target is left out rather than subtracted again.

    Args:
        student (Tensor): Logits, shape (V, B, K).
        targets (Tensor): q, shape (T, B, K).
        temp (float): Temperature of the student.
        grad (Tensor, optional): Shape (V, B, K), filled with the gradient
            with respect to the logits.

    Returns:
        Tensor: Scalar.
    """
    every = targets.sum(0)
    loss = student.new_zeros(())
    for view, logits in enumerate(student):
        wanted = every
        if view < len(targets):
            wanted = torch.cat([targets[:view], targets[view + 1:]]).sum(0)
        log_probs = (logits / temp).log_softmax(-1)
        loss -= torch.linalg.vecdot(wanted, log_probs).sum()
        if grad is not None:
            weight = wanted.sum(-1, keepdim=True) / temp
            torch.exp(log_probs, out=grad[view])
            grad[view].mul_(weight).sub_(wanted, alpha=1 / temp)
    return loss


def num_pairs(student: Tensor, targets: Tensor) -> int:
    """How many pairs of different views there are."""
    return len(targets) * (len(student) - 1)


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
