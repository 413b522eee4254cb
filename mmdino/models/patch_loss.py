"""iBOT's loss of masked patches (Zhou et al. 2021, arXiv 2111.07832).

M masked tokens, K prototypes, D channels of the bottleneck.
"""
import math

import torch
import torch.nn as nn
from torch import Tensor

from mmdino.functional.losses import (Rows, at_least_float32,
                                      chunked_masked_cross_entropy,
                                      masked_cross_entropy)
from mmdino.registry import MODELS


@MODELS.register_module()
class IBOTLoss(nn.Module):
    """Cross-entropy between the teacher's and the student's masked tokens.

    In float32 at least, also under autocast.

    What it holds at once, in float32: with logits, three tensors of the
    student's, 12 M K bytes, beside targets of 4 M K; in chunks of m tokens,
    12 m K and, of targets that are made when asked for, 8 m K. At 224 px,
    patch 16 and 32 images M is about 1,900, so that a tensor for K = 65,536
    has 0.5 GB, and for m = 128 34 MB.

    Args:
        student_temp: Temperature of the student's softmax.

    Raises:
        ValueError: If the temperature is not positive.
    """

    def __init__(self, student_temp: float = 0.1) -> None:
        super().__init__()
        if not 0 < student_temp < math.inf:
            raise ValueError('IBOTLoss: student_temp must be > 0, got '
                             f'{student_temp}')
        self.student_temp = student_temp

    def forward(self, student: Tensor, targets: Tensor,
                weights: Tensor) -> Tensor:
        """Compute the weighted cross-entropy of the masked tokens (Eq. 2).

        Args:
            student: Logits, shape (M, K).
            targets: The teacher's distributions, shape (M, K).
            weights: Of the tokens, shape (M, ), as :func:`token_weights` gives
                them.

        Returns:
            Scalar in nats, 0 without masked tokens.
        """
        with torch.autocast(student.device.type, enabled=False):
            student = at_least_float32(student)
            return masked_cross_entropy(student, targets.to(student.dtype),
                                        weights.to(student.dtype),
                                        self.student_temp)

    def from_vectors(self, vectors: Tensor, weight: Tensor, targets: Rows,
                     weights: Tensor, tokens_per_chunk: int) -> Tensor:
        """Compute :meth:`forward` of ``vectors @ weight.T``, in chunks of
        tokens.

        Args:
            vectors: The student's bottleneck, shape (M, D).
            weight: The prototypes, shape (K, D).
            targets: The teacher's distributions, shape (M, K), or what makes
                those of a slice of the tokens. Each slice is asked for once,
                in order.
            weights: Of the tokens, shape (M, ).
            tokens_per_chunk: Tokens whose logits exist at once.

        Returns:
            Scalar, in nats.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            weight = at_least_float32(weight)
            return chunked_masked_cross_entropy(
                vectors.to(weight.dtype), weight, targets,
                weights.to(weight.dtype), self.student_temp, tokens_per_chunk)
