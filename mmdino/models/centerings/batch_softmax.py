"""Softmax over the batch (arXiv 2104.14294, appendix B).

T teacher views, B images, K prototypes.
"""
import torch
from torch import Tensor

from mmdino.registry import MODELS
from ..precision import at_least_float32
from .all_ranks import all_rank_logsumexp
from .stateless_centering import StatelessCentering


def batch_softmax(logits: Tensor, temp: float) -> Tensor:
    """softmax(logits / temp) over the images, divided by its sum over K.

    Sinkhorn-Knopp with a single iteration. The batch is that of all ranks.

    Args:
        logits (Tensor): Shape (..., K); all but the last axis are the batch.
        temp (float): Teacher temperature.

    Returns:
        Tensor: Distributions over K, shape (..., K).
    """
    scores = logits.flatten(0, -2) / temp
    log_shares = scores - all_rank_logsumexp(scores)
    return log_shares.softmax(-1).view_as(logits)


@MODELS.register_module()
class BatchSoftmax(StatelessCentering):
    """Each prototype's share of the batch as targets.

    The batch is both teacher views of all images on all ranks.

    Args:
        out_dim (int): Number of prototypes K.
    """

    @torch.no_grad()
    def forward(self, logits: Tensor) -> Tensor:
        """Turn teacher logits (T, B, K) into targets (T, B, K)."""
        return batch_softmax(at_least_float32(logits), self.temperature)
