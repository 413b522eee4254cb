"""Contrast with the other images of the batch (arXiv 2104.14294, Tab. 7).

V student views, T teacher views, B images, N images of all ranks, K
prototypes.
"""
from typing import Dict

import torch
from mmengine.dist import all_gather, get_rank
from torch import Tensor

from mmdino.registry import MODELS
from ..precision import at_least_float32
from .dino_loss import DINOLoss, num_pairs


def info_nce(student: Tensor, targets: Tensor, first: int) -> Tensor:
    r"""InfoNCE over all pairs of different views.

    .. math:: \frac{-1}{|P|B} \sum_{(t,s) \in P} \sum_b \log
              \frac{\exp(q_{tb} \cdot z_{sb})}
                   {\sum_n \exp(q_{tn} \cdot z_{sb})},
              \quad P = \{(t, s): t \ne s\}

    van den Oord et al. 2018 (arXiv 1807.03748, Eq. 4). As q sums to 1, its
    product with z is minus the cross-entropy with softmax(z), up to what
    cancels: it is DINO's loss, compared with that of other images' targets.

    Args:
        student (Tensor): z, logits by the temperature, shape (V, B, K). The
            first T views are the teacher's views.
        targets (Tensor): q of all ranks, shape (T, N, K), T <= V.
        first (int): Place of the first of the B images among the N.

    Returns:
        Tensor: Scalar, the mean over images and over pairs.
    """
    similarities = torch.einsum('vbk,tnk->tvbn', student, targets)
    positives = similarities.log_softmax(-1).diagonal(first, -2, -1).mean(-1)
    same_view = torch.eye(
        *positives.shape, dtype=torch.bool, device=student.device)
    total = -positives.masked_fill(same_view, 0).sum()
    return total / num_pairs(student, targets)


@MODELS.register_module()
class InfoNCELoss(DINOLoss):
    """Tells an image's target from those of the other images on all ranks.

    Every rank needs the same number of images.

    Args:
        student_temp (float): Temperature of the similarities.

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
            everyone = torch.cat(all_gather(at_least_float32(targets)), dim=1)
            losses['loss'] = info_nce(
                at_least_float32(student) / self.student_temp, everyone,
                get_rank() * student.shape[1])
        return losses
