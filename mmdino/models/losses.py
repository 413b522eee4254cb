"""The losses of DINO (Caron et al. 2021, Eq. 3 and Tab. 7) and of iBOT.

A loss of DINO is any module whose ``forward`` takes the student's logits
(V, B, K) and the teacher's targets (T, B, K) and gives a scalar; it needs no
base class. Two things are voluntary:

- ``is_cross_entropy = True`` says that the scalar is the mean cross-entropy
  of the targets it was given, so that less their entropy it is the KL
  divergence, which :class:`DINO` then logs;
- ``from_vectors(vectors, weight, targets, images_per_chunk)`` gives the same
  scalar from the student's bottleneck (V, B, D) and the prototypes (K, D),
  for ``DINO(images_per_chunk=...)``.

V student views, the first T of which are the teacher's, B images, K
prototypes, D channels of the bottleneck, M masked tokens.
"""
import math

import torch
import torch.nn as nn
from mmengine.dist import all_gather, get_rank
from torch import Tensor

from mmdino.functional.losses import (Rows, at_least_float32,
                                      chunked_cross_entropy,
                                      chunked_masked_cross_entropy,
                                      dino_cross_entropy, info_nce,
                                      masked_cross_entropy, mean_squared_error)
from mmdino.registry import MODELS


class _Loss(nn.Module):
    """Base class of the three losses: float32 at least, also under autocast.

    Args:
        student_temp: Temperature of the student's softmax.

    Raises:
        ValueError: If the temperature is not positive; in forward, if there
            are fewer than two student views, or more teacher than student
            views.
    """

    def __init__(self, student_temp: float = 0.1) -> None:
        super().__init__()
        if not 0 < student_temp < math.inf:
            raise ValueError(f'{type(self).__name__}: student_temp must be '
                             f'> 0, got {student_temp}')
        self.student_temp = student_temp

    def forward(self, student: Tensor, targets: Tensor) -> Tensor:
        """Compute the loss of every student view with the teacher's other
        views.

        Args:
            student: Logits, shape (V, B, K).
            targets: The teacher's distributions, shape (T, B, K).

        Returns:
            Scalar; of cross-entropies in nats.
        """
        check_views(student, targets)
        with torch.autocast(student.device.type, enabled=False):
            return self._compare(
                at_least_float32(student), at_least_float32(targets))


@MODELS.register_module()
class DINOLoss(_Loss):
    """Cross-entropy between the teacher's targets and the student.

    A subclass with a ``forward`` of its own computes something else: it has
    neither ``is_cross_entropy`` nor ``from_vectors`` unless it gives them,
    too.
    """
    is_cross_entropy = True

    def __init_subclass__(cls, **kwargs) -> None:
        super().__init_subclass__(**kwargs)
        if 'forward' in vars(cls):
            for name in {'is_cross_entropy', 'from_vectors'} - {*vars(cls)}:
                setattr(cls, name, None)

    def _compare(self, student: Tensor, targets: Tensor) -> Tensor:
        return dino_cross_entropy(student, targets, self.student_temp)

    def from_vectors(self, vectors: Tensor, weight: Tensor, targets: Tensor,
                     images_per_chunk: int) -> Tensor:
        """Compute :meth:`forward` of ``vectors @ weight.T``, in chunks of
        images.

        Args:
            vectors: The student's bottleneck, shape (V, B, D).
            weight: The prototypes, shape (K, D).
            targets: The teacher's distributions, shape (T, B, K).
            images_per_chunk: Images whose logits exist at once.

        Returns:
            Scalar, in nats.
        """
        check_views(vectors, targets)
        with torch.autocast(vectors.device.type, enabled=False):
            weight = at_least_float32(weight)
            return chunked_cross_entropy(
                vectors.to(weight.dtype), weight, targets.to(weight.dtype),
                self.student_temp, images_per_chunk)


@MODELS.register_module()
class MSELoss(_Loss):
    """Squared distance between the teacher's targets and the student.

    The distributions are those that cross-entropy compares. Its gradient is
    p times as large, hence faint as long as the student is uniform.
    """

    def _compare(self, student: Tensor, targets: Tensor) -> Tensor:
        return mean_squared_error((student / self.student_temp).softmax(-1),
                                  targets)


@MODELS.register_module()
class InfoNCELoss(_Loss):
    """Contrastive loss with the targets of other images on all ranks.

    Every rank needs the same number of images. ``student_temp`` is the
    temperature of the similarities.
    """

    def _compare(self, student: Tensor, targets: Tensor) -> Tensor:
        everyone = torch.cat(all_gather(targets), dim=1)
        return info_nce(student / self.student_temp, everyone,
                        get_rank() * student.shape[1])


def check_views(student: Tensor, targets: Tensor) -> None:
    """Raise an error if views (V, ...) and targets (T, ...) make no pairs."""
    if student.shape[0] < 2 or student.shape[0] < targets.shape[0]:
        raise ValueError(
            "A loss needs at least two student views, the teacher's among "
            f'them; got {student.shape[0]} student and {targets.shape[0]} '
            'teacher views. Add views to MultiCrop.')


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
