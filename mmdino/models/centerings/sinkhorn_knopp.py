"""Sinkhorn-Knopp on the teacher's logits (arXiv 2104.14294, appendix B).

T teacher views, B images, K prototypes.
"""
from typing import Optional

import torch
from torch import Tensor

from mmdino.registry import MODELS
from ..precision import at_least_float32
from .all_ranks import all_rank_logsumexp
from .stateless_centering import StatelessCentering


def sinkhorn_knopp(logits: Tensor, temp: float, num_iters: int) -> Tensor:
    """exp(logits / temp) scaled so that all prototypes are used alike.

    Each iteration gives every prototype the same sum over the batch, then
    every image a sum of 1 over the prototypes; the latter holds exactly, the
    former in the limit. As in SwAV (Caron et al. 2020, arXiv 2006.09882), on
    the images of all ranks, and in logarithms: exp overflows at small
    temperatures.

    Args:
        logits (Tensor): Shape (..., K); all but the last axis are the batch.
        temp (float): Regularisation, the teacher temperature.
        num_iters (int): Iterations.

    Returns:
        Tensor: Distributions over K, shape (..., K).
    """
    scores = logits.flatten(0, -2) / temp
    for _ in range(num_iters):
        scores = scores - all_rank_logsumexp(scores)
        scores = scores.log_softmax(-1)
    return scores.exp().view_as(logits)


@MODELS.register_module()
class SinkhornKnopp(StatelessCentering):
    """Targets that use all prototypes alike, in the place of a centre.

    The batch is both teacher views of all images on all ranks, which need the
    same K only.

    Args:
        out_dim (int): Number of prototypes K.
        num_iters (int): Iterations, 1 or more.

    Raises:
        ValueError: If ``num_iters`` is below 1.
    """

    def __init__(self,
                 out_dim: int,
                 num_iters: int = 3,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(out_dim, init_cfg)
        if num_iters < 1:
            raise ValueError('SinkhornKnopp: num_iters must be >= 1, got '
                             f'{num_iters}')
        self.num_iters = num_iters

    @torch.no_grad()
    def forward(self, logits: Tensor) -> Tensor:
        """Turn teacher logits (T, B, K) into targets (T, B, K)."""
        return sinkhorn_knopp(
            at_least_float32(logits), self.temperature, self.num_iters)
