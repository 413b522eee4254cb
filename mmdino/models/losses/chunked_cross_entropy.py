"""The last layer and the loss together, a few images at a time.

V student views, T teacher views, B images, K prototypes, D channels of the
bottleneck.
"""
from typing import Any, Tuple

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from .dino_loss import num_pairs, sum_cross_entropy


def chunked_cross_entropy(vectors: Tensor, weight: Tensor, targets: Tensor,
                          temp: float, images_per_chunk: int) -> Tensor:
    """:func:`dino_cross_entropy` of the logits ``vectors @ weight.T``.

    The logits (V, B, K) never exist at once: those of a chunk are made,
    compared and turned into gradients of the vectors and the weight before
    the next one's.

    Args:
        vectors (Tensor): Output of the bottleneck, shape (V, B, D).
        weight (Tensor): Of the last layer, shape (K, D).
        targets (Tensor): Constants of shape (T, B, K), T <= V.
        temp (float): Temperature of the student.
        images_per_chunk (int): Images whose logits exist at once.

    Returns:
        Tensor: Scalar. It can be differentiated once.
    """
    return _ChunkedCrossEntropy.apply(vectors, weight, targets, temp,
                                      images_per_chunk)


class _ChunkedCrossEntropy(Function):

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, weight: Tensor, targets: Tensor,
                temp: float, images_per_chunk: int) -> Tensor:
        loss = vectors.new_zeros(())
        grads = torch.empty_like(vectors), torch.zeros_like(weight)
        ctx.pairs = num_pairs(vectors, targets) * vectors.shape[1]
        for start in range(0, vectors.shape[1], images_per_chunk):
            chunk = slice(start, start + images_per_chunk)
            logits = vectors[:, chunk] @ weight.t()
            grad = torch.empty_like(logits)
            loss += sum_cross_entropy(logits, targets[:, chunk], temp, grad)
            grads[0][:, chunk] = grad @ weight
            grads[1].addmm_(
                grad.flatten(0, 1).t(), vectors[:, chunk].flatten(0, 1))
        ctx.save_for_backward(*grads)
        return loss / ctx.pairs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tuple:
        scale = grad_output / ctx.pairs
        vectors, weight = (grad.mul_(scale) for grad in ctx.saved_tensors)
        return vectors, weight, None, None, None
