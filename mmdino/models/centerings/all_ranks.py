"""Sums over the images of all ranks."""
import torch
from mmengine.dist import all_reduce
from torch import Tensor


def all_rank_logsumexp(logits: Tensor) -> Tensor:
    """log of the sum of exp over the rows (N, K) of all ranks, shape (K,).

    The largest of all ranks is taken out first, so that nothing overflows.
    """
    largest = logits.amax(0)
    all_reduce(largest, 'max')
    total = (logits - largest).exp().sum(0)
    all_reduce(total)
    return largest + total.log()


def at_least_float32(logits: Tensor) -> Tensor:
    """The logits in float32, or in float64 if they are."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
