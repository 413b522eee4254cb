"""Contrast with the other images of the batch (arXiv 2104.14294, Tab. 7).

V student views, T teacher views, B images, N images of all ranks, K
prototypes.
"""
import torch
from mmengine.dist import all_gather, get_rank
from torch import Tensor

from mmdino.registry import MODELS
from .dino_loss import num_pairs
from .monitored_loss import MonitoredLoss


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
