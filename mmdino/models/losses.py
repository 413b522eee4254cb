"""The losses of DINO (Caron et al. 2021, Eq. 3 and Tab. 7) and of iBOT.

A loss of DINO is any module whose ``forward`` takes the student's logits
(V, B, K) and the teacher's targets (T, B, K) and returns a scalar; it needs no
base class. Two attributes are optional:

- ``is_cross_entropy = True`` says that the scalar is the mean cross-entropy
  with the given targets. :class:`DINO` then subtracts the entropy of the
  targets and logs the result, the KL divergence.
- ``from_vectors(vectors, weight, targets, images_per_chunk)`` computes the
  same scalar from the student's bottleneck (V, B, D) and the prototypes
  (K, D). ``DINO(images_per_chunk=...)`` needs it.

Letters: V student views, the first T of which are also the teacher's, B
images, K prototypes, D channels of the bottleneck, M masked tokens.
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
    """Base class of the losses of DINO, which checks the views.

    The losses are computed in float32 or float64, also under autocast.

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
            Scalar, in nats if the loss is a cross-entropy.
        """
        check_views(student, targets)
        with torch.autocast(student.device.type, enabled=False):
            return self._compare(
                at_least_float32(student), at_least_float32(targets))


@MODELS.register_module()
class DINOLoss(_Loss):
    """Cross-entropy between the teacher's targets and the student.

    A subclass that overrides ``forward`` computes another loss. It does not
    inherit ``is_cross_entropy`` and ``from_vectors`` and has to define them
    itself if they apply.
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
            images_per_chunk: Number of images whose logits are computed at
                once.

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

    It compares the same distributions as the cross-entropy. Its gradient has
    the student's probabilities as an additional factor, and is therefore
    small as long as the student's output is nearly uniform.
    """

    def _compare(self, student: Tensor, targets: Tensor) -> Tensor:
        return mean_squared_error((student / self.student_temp).softmax(-1),
                                  targets)


@MODELS.register_module()
class InfoNCELoss(_Loss):
    """Contrastive loss with the targets of other images on all ranks.

    Every rank needs the same number of images. ``student_temp`` divides the
    similarities. See :func:`mmdino.functional.losses.info_nce`.
    """

    def _compare(self, student: Tensor, targets: Tensor) -> Tensor:
        everyone = torch.cat(all_gather(targets), dim=1)
        return info_nce(student / self.student_temp, everyone,
                        get_rank() * student.shape[1])


def check_views(student: Tensor, targets: Tensor) -> None:
    """Raise an error if views (V, ...) and targets (T, ...) make no pairs."""
    if student.shape[0] < 2 or student.shape[0] < targets.shape[0]:
        raise ValueError(
            'The loss needs at least two student views, and no more teacher '
            f'than student views; got {student.shape[0]} student and '
            f'{targets.shape[0]} teacher views. Add views to MultiCrop.')


@MODELS.register_module()
class IBOTLoss(nn.Module):
    """Cross-entropy between the teacher's and the student's masked tokens.

    It is computed in float32 or float64, also under autocast.

    Memory, in float32: without chunks up to 20 M K bytes, which are three
    tensors like the student's logits (12 M K) and two like the targets
    (8 M K). With chunks of m tokens (:meth:`from_vectors`) it is 20 m K bytes
    if the targets are computed in chunks as well. For 32 images of 224 px and
    patch 16, M is about 1,900: one tensor for K = 65,536 then takes 0.5 GB,
    and 34 MB for a chunk of m = 128.

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
            weights: Weights of the tokens, shape (M, ), see
                :func:`token_weights`.

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
            targets: The teacher's distributions, shape (M, K), or an object
                that computes those of a slice of the tokens. Each slice is
                read once, in order.
            weights: Weights of the tokens, shape (M, ).
            tokens_per_chunk: Number of tokens whose logits are computed at
                once.

        Returns:
            Scalar, in nats.
        """
        with torch.autocast(vectors.device.type, enabled=False):
            weight = at_least_float32(weight)
            return chunked_masked_cross_entropy(
                vectors.to(weight.dtype), weight, targets,
                weights.to(weight.dtype), self.student_temp, tokens_per_chunk)
