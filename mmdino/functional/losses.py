"""Cross-entropy and other losses between a student and a teacher's targets.

Letters: V student views, T teacher views, B images, N images of all ranks, M
masked tokens, K prototypes, D channels of the bottleneck.
"""
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

# Bytes of logits that are processed at once on a CPU, so that they stay in
# its cache.
CACHED = 2**20


def at_least_float32(tensor: Tensor) -> Tensor:
    """Cast a tensor to float32, unless it is float64 already."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def dino_cross_entropy(student: Tensor, targets: Tensor,
                       temp: float) -> Tensor:
    r"""Compute DINO's cross-entropy over all pairs of different views.

    .. math:: \frac{-1}{|P|B} \sum_{(t,s) \in P} \sum_b \sum_k
              q_{tbk} \log p_{sbk}, \quad P = \{(t, s): t \ne s\}

    Args:
        student: Logits (V, B, K), p = softmax(logits / temp). The first T
            views are those that the teacher sees as well.
        targets: q (T, B, K), T <= V. They get no gradient.
        temp: Temperature of the student.

    Returns:
        Scalar in nats, the mean over images and over the T (V - 1) pairs. It
        can be differentiated once.
    """
    with torch.no_grad():
        grad = torch.empty_like(student) if student.requires_grad else None
        loss = sum_cross_entropy(student, targets, temp, grad)
    pairs = num_pairs(student, targets) * student.shape[1]
    return _WithGradients.apply(loss, pairs, (grad, ), student)


class _WithGradients(Function):
    """Return a mean whose gradients are known already.

    Only the gradients are kept for the backward pass; autograd would keep the
    softmax of every pair of views.
    """

    @staticmethod
    def forward(ctx: Any, total: Tensor, number: int, grads: Sequence[Tensor],
                *inputs: Tensor) -> Tensor:
        """Divide a total by a number.

        Args:
            total: Scalar.
            number: What to divide by.
            grads: Gradients of the total with respect to the inputs.
            *inputs: Tensors that get the gradients, divided by the number.
        """
        ctx.save_for_backward(*grads)
        ctx.number = number
        return total / number

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple:
        scale = grad_output / ctx.number
        return None, None, None, *(g.mul_(scale) for g in ctx.saved_tensors)


def sum_cross_entropy(student: Tensor,
                      targets: Tensor,
                      temp: float,
                      grad: Tensor | None = None) -> Tensor:
    """Sum the cross-entropy over images and pairs, one view at a time.

    For each student view, the targets of all other teacher views are summed
    first and then multiplied by its log p once. Its own target is left out
    of the sum, not subtracted from the sum of all, which would lose digits.
    On CPUs, images are processed in blocks that fit the cache.

    Args:
        student: As for :func:`dino_cross_entropy`.
        targets: As for :func:`dino_cross_entropy`.
        temp: As for :func:`dino_cross_entropy`.
        grad: (V, B, K), overwritten with the gradient of the sum with respect
            to the logits.

    Returns:
        Scalar in nats, the sum, not the mean.
    """
    loss = student.new_zeros(())
    for images in _blocks(student):
        parts = targets[:, images]
        every = _with_sums(parts)
        for view, logits in enumerate(student[:, images]):
            wanted = every
            if view < len(parts):
                wanted = _with_sums([*parts[:view], *parts[view + 1:]])
            own = None if grad is None else grad[view, images]
            if wanted is not None:
                loss += _one_view(logits, *wanted, temp, own)
            elif own is not None:  # the only teacher view has no partner
                own.zero_()
    return loss


def _with_sums(targets: Sequence[Tensor]) -> tuple[Tensor, Tensor] | None:
    """Sum targets (B, K) over views, (B, K), and that sum over K, (B,).

    Returns None without targets.
    """
    if not len(targets):
        return None
    total = targets[0]
    for other in targets[1:]:
        total = total + other
    return total, total.sum(-1)


def _one_view(logits: Tensor, wanted: Tensor, weight: Tensor, temp: float,
              grad: Tensor | None) -> Tensor:
    """Sum the cross-entropy of logits (B, K) with targets ``wanted`` (B, K).

    log p = scaled logits - logsumexp. The logsumexp of an image is its largest
    scaled logit minus log of its largest p, so that exp is computed only
    once, in the softmax.

    Args:
        logits: (B, K).
        wanted: (B, K) targets.
        weight: (B,) sums of the targets over K.
        temp: Temperature of the student.
        grad: (B, K), overwritten with the gradient of the logits.
    """
    scaled = logits / temp
    product = torch.dot(wanted.flatten(), scaled.flatten())
    largest = scaled.amax(-1)
    probs = torch.softmax(scaled, -1, out=grad)
    log_sum = largest - probs.amax(-1).log()
    if grad is not None:
        grad.mul_(weight[:, None] / temp).sub_(wanted, alpha=1 / temp)
    return torch.dot(weight, log_sum) - product


def _blocks(student: Tensor) -> Sequence[slice]:
    """Return slices of the images of logits (V, B, K) to process at once.

    On GPUs that is one slice with all images.
    """
    images, prototypes = student.shape[1:]
    size = images
    if student.device.type == 'cpu':
        size = max(1, CACHED // (prototypes * student.element_size()))
    return [slice(i, i + size) for i in range(0, images, max(size, 1))]


def num_pairs(student: Tensor, targets: Tensor) -> int:
    """Count the pairs of a teacher view and a different student view."""
    return len(targets) * (len(student) - 1)


def entropy(probs: Tensor) -> Tensor:
    """Compute the mean entropy in nats of distributions (..., K)."""
    return torch.special.entr(probs).sum(-1).mean()


def chunked_cross_entropy(vectors: Tensor, weight: Tensor, targets: Tensor,
                          temp: float, images_per_chunk: int) -> Tensor:
    """Compute :func:`dino_cross_entropy` of ``vectors @ weight.T`` in chunks.

    The logits (V, B, K) are never held in memory as a whole: those of a chunk
    are computed, compared and turned into gradients of the vectors and the
    weight before the next chunk.

    Args:
        vectors: Output of the bottleneck (V, B, D).
        weight: Weight (K, D) of the last layer.
        targets: As for :func:`dino_cross_entropy`.
        temp: As for :func:`dino_cross_entropy`.
        images_per_chunk: Number of images whose logits are computed at once.

    Returns:
        Scalar, as of :func:`dino_cross_entropy`.
    """
    loss = vectors.new_zeros(())
    grads = torch.empty_like(vectors), torch.zeros_like(weight)
    with torch.no_grad():
        for start in range(0, vectors.shape[1], images_per_chunk):
            chunk = slice(start, start + images_per_chunk)
            logits = vectors[:, chunk] @ weight.t()
            grad = torch.empty_like(logits)
            loss += sum_cross_entropy(logits, targets[:, chunk], temp, grad)
            grads[0][:, chunk] = grad @ weight
            grads[1].addmm_(
                grad.flatten(0, 1).t(), vectors[:, chunk].flatten(0, 1))
    pairs = num_pairs(vectors, targets) * vectors.shape[1]
    return _WithGradients.apply(loss, pairs, grads, vectors, weight)


class Rows(Protocol):
    """Targets (M, K) that are read in slices of m tokens, (m, K).

    Either a tensor or an object that computes a slice when it is read.
    """

    def __getitem__(self, tokens: slice) -> Tensor:
        ...


def masked_cross_entropy(student: Tensor, targets: Tensor, weights: Tensor,
                         temp: float) -> Tensor:
    r"""Compute the weighted cross-entropy of masked tokens.

    .. math:: -\sum_m w_m \sum_k q_{mk} \log p_{mk}

    Args:
        student: Logits (M, K), p = softmax(logits / temp).
        targets: q (M, K). They get no gradient.
        weights: w (M, ), see :func:`token_weights`. They get no gradient.
        temp: Temperature of the student.

    Returns:
        Scalar in nats, 0 if M is 0. It can be differentiated once.
    """
    with torch.no_grad():
        grad = torch.empty_like(student) if student.requires_grad else None
        loss = sum_masked_cross_entropy(student, targets, weights, temp, grad)
    return _WithGradients.apply(loss, 1, (grad, ), student)


def token_weights(masks: Tensor) -> Tensor:
    """Compute the weight 1 / (C n) of each masked token.

    C is the number of crops, n the number of masked tokens in the token's
    crop. The weighted sum over all tokens is then the mean over crops of the
    mean over a crop's masked tokens; a crop without masked tokens counts as 0
    (Zhou et al. 2021, arXiv 2111.07832, Eq. 2).

    Args:
        masks: Boolean (C, N), True at M masked tokens.

    Returns:
        Shape (M, ) in float64, in the order of ``masks.nonzero()``.
    """
    masked = masks.sum(-1, keepdim=True).expand_as(masks)[masks]
    return 1 / (len(masks) * masked.double())


def sum_masked_cross_entropy(student: Tensor,
                             targets: Tensor,
                             weights: Tensor,
                             temp: float,
                             grad: Tensor | None = None) -> Tensor:
    """Sum the weighted cross-entropy over masked tokens.

    On CPUs, tokens are processed in blocks that fit the cache.

    Args:
        student: As for :func:`masked_cross_entropy`.
        targets: As for :func:`masked_cross_entropy`.
        weights: As for :func:`masked_cross_entropy`.
        temp: As for :func:`masked_cross_entropy`.
        grad: (M, K), overwritten with the gradient of the logits.

    Returns:
        Scalar in nats.
    """
    loss = student.new_zeros(())
    for tokens in _blocks(student[None]):
        wanted = targets[tokens] * weights[tokens, None]
        own = None if grad is None else grad[tokens]
        loss += _one_view(student[tokens], wanted, wanted.sum(-1), temp, own)
    return loss


def chunked_masked_cross_entropy(vectors: Tensor, weight: Tensor,
                                 targets: Rows, weights: Tensor, temp: float,
                                 tokens_per_chunk: int) -> Tensor:
    """Compute :func:`masked_cross_entropy` of ``vectors @ weight.T`` in
    chunks.

    The logits (M, K) are never held in memory as a whole: those of a chunk
    are computed, compared and turned into gradients of the vectors and the
    weight before the next chunk. The same holds for targets that are computed
    when they are read.

    Args:
        vectors: Output of the bottleneck (M, D).
        weight: Weight (K, D) of the last layer.
        targets: q, read in slices of tokens (m, K). Without masked tokens, one
            empty slice is read.
        weights: As for :func:`masked_cross_entropy`.
        temp: As for :func:`masked_cross_entropy`.
        tokens_per_chunk: Number of tokens whose logits are computed at once.

    Returns:
        Scalar, as of :func:`masked_cross_entropy`.
    """
    loss = vectors.new_zeros(())
    grads = torch.empty_like(vectors), torch.zeros_like(weight)
    with torch.no_grad():
        for start in range(0, max(len(vectors), 1), tokens_per_chunk):
            chunk = slice(start, start + tokens_per_chunk)
            logits = vectors[chunk] @ weight.t()
            grad = torch.empty_like(logits)
            loss += sum_masked_cross_entropy(logits,
                                             targets[chunk].to(logits.dtype),
                                             weights[chunk], temp, grad)
            grads[0][chunk] = grad @ weight
            grads[1].addmm_(grad.t(), vectors[chunk])
    return _WithGradients.apply(loss, 1, grads, vectors, weight)


def mean_squared_error(student_probs: Tensor, targets: Tensor) -> Tensor:
    r"""Compute the squared distance over all pairs of different views.

    .. math:: \frac{1}{|P|B} \sum_{(t,s) \in P} \sum_b \|q_{tb} - p_{sb}\|^2,
              \quad P = \{(t, s): t \ne s\}

    Args:
        student_probs: p (V, B, K). The first T views are those that the
            teacher sees as well.
        targets: q (T, B, K), T <= V.

    Returns:
        Scalar in [0, 2], the mean over images and over pairs.
    """
    total = sum((torch.cat([student_probs[:t], student_probs[t + 1:]]) -
                 target).square().sum() for t, target in enumerate(targets))
    pairs = num_pairs(student_probs, targets)
    return total / (pairs * student_probs.shape[1])


def info_nce(student: Tensor, targets: Tensor, first: int) -> Tensor:
    r"""Compute InfoNCE over all pairs of different views.

    .. math:: \frac{-1}{|P|B} \sum_{(t,s) \in P} \sum_b \log
              \frac{\exp(q_{tb} \cdot z_{sb})}
                   {\sum_n \exp(q_{tn} \cdot z_{sb})},
              \quad P = \{(t, s): t \ne s\}

    van den Oord et al. 2018 (arXiv 1807.03748, Eq. 4). Because q sums to 1,
    q · z is minus the cross-entropy of q with softmax(z), up to a term that
    cancels in the fraction. The loss therefore compares DINO's cross-entropy
    with an image's own target to that with the targets of other images.

    Args:
        student: z (V, B, K), logits divided by the temperature. The first T
            views are those that the teacher sees as well.
        targets: q (T, N, K) of all ranks, T <= V.
        first: Index of this rank's first image among the N.

    Returns:
        Scalar in nats, the mean over images and over pairs.
    """
    similarities = torch.einsum('vbk,tnk->tvbn', student, targets)
    positives = similarities.log_softmax(-1).diagonal(first, -2, -1).mean(-1)
    same_view = torch.eye(
        *positives.shape, dtype=torch.bool, device=student.device)
    total = -positives.masked_fill(same_view, 0).sum()
    return total / num_pairs(student, targets)
