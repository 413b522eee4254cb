"""Targets from a teacher's logits (arXiv 2104.14294, Eq. 4, appendix B).

K prototypes; all axes but the last are the batch.
"""
import torch
from mmengine.dist import all_reduce
from torch import Tensor


def mean_centering(logits: Tensor, center: Tensor, temp: float) -> Tensor:
    """Compute softmax((logits - center) / temp), DINO's targets (Eq. 4).

    The logits are (..., K), the center (1, K). A teacher's temperature below
    the student's sharpens the targets.
    """
    return (logits - center).div_(temp).softmax(-1)


def sinkhorn_knopp(logits: Tensor, temp: float, num_iters: int) -> Tensor:
    """Compute targets that use all prototypes equally, by Sinkhorn-Knopp.

    They are exp(logits / temp) with scaled rows and columns.

    Each iteration gives every prototype the same sum over the batch, then
    every image a sum of 1 over the prototypes; the latter holds exactly, the
    former in the limit. One iteration is the softmax over the batch of
    appendix B, scaled to sums of 1. As in SwAV (Caron et al. 2020, arXiv
    2006.09882), on the images of all ranks. The first iteration is in
    logarithms: exp overflows at small temperatures. After it each prototype's
    sum is 1 / K at least, and only factors of rows and columns change.

    Args:
        logits: (..., K).
        temp: Regularisation, the teacher temperature.
        num_iters: Iterations, at least 1.

    Returns:
        Distributions over K, (..., K).
    """
    scores = logits.flatten(0, -2) / temp
    buffer = torch.empty_like(scores)  # new memory costs a CPU more than exp
    scores.sub_(all_rank_logsumexp(scores, buffer))
    probs = torch.softmax(scores, -1, out=buffer)
    columns, rows = probs.new_ones(probs.shape[1]), probs.new_ones(len(probs))
    for _ in range(num_iters - 1):
        total = rows @ probs
        all_reduce(total)
        columns = 1 / total
        rows = 1 / (probs @ columns)
    return probs.mul_(columns).mul_(rows[:, None]).view_as(logits)


def all_rank_logsumexp(logits: Tensor, buffer: Tensor) -> Tensor:
    """Compute the log-sum-exp over the rows (N, K) of all ranks, shape (K,).

    The largest of all ranks is taken out first, so that nothing overflows. A
    rank may have no rows. The buffer is as large as the logits, to write to.
    """
    if len(logits):
        largest = logits.amax(0)
    else:
        largest = logits.new_full(logits.shape[1:], -torch.inf)
    all_reduce(largest, 'max')
    total = torch.sub(logits, largest, out=buffer).exp_().sum(0)
    all_reduce(total)
    return largest + total.log()
