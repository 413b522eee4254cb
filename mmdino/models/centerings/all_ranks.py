"""Sums over the images of all ranks."""
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
