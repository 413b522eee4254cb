"""Centerings: how a teacher's logits become targets without collapse.

T teacher views, B images, K prototypes. Logits may have any leading axes:
(T, B, K) of class tokens, (M, K) of M masked tokens, perhaps none.
"""
from abc import abstractmethod
from collections.abc import Callable

import torch
from mmengine.dist import all_reduce
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.functional.losses import at_least_float32
from mmdino.registry import MODELS


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


class Centering(BaseModule):
    """Base class of what turns a teacher's logits into targets.

    :class:`CenteringHook` sets the temperature before each iteration and
    calls :meth:`update` after each optimizer step. Subclasses give
    ``forward``; those that keep something of the batches, the other three.

    Args:
        out_dim: Number of prototypes K. :class:`DINO` fills it in from the
            head.

    Attributes:
        temperature (float): Teacher temperature.
        is_by_row (bool): Whether the targets of some rows of logits do not
            depend on the other rows, so that they can be made in chunks.
    """
    is_by_row = False

    def __init__(self, out_dim: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.out_dim = out_dim
        self.temperature = 0.04

    @abstractmethod
    def forward(self, logits: Tensor) -> Tensor:
        """Turn logits (..., K) into targets (..., K), without gradient.

        The targets are distributions over K, in float32 at least. All ranks
        call it equally often, also without rows.
        """

    def collect(self, logits: Tensor) -> None:
        """Record logits (..., K) for the next update without using targets.

        Only in training. Logits that do need targets are recorded by the
        forward pass. The base class records nothing.

        Those that do are noted by the forward pass. Here nothing is.
        """

    def collected(self) -> list[Tensor]:
        """Return the statistics recorded since the last call, to be summed in
        place over the ranks.

        :class:`DINO` asks after each forward pass, so that one all-reduce
        serves the whole model. Here nothing.
        """
        return []

    def update(self) -> None:
        """Update the state from what was recorded since the last step.

        The base class has no state.
        """

    def discard(self) -> None:
        """Forget what was recorded, as the optimizer step is skipped."""


@MODELS.register_module()
class MeanCentering(Centering):
    """Subtract a running mean of the logits, the centre (Eq. 4), then softmax.

    The mean is that of all rows on all ranks: where ranks have different
    numbers of masked tokens, each token weighs the same (the authors of
    DINOv2 give each rank the same weight). Without any row the centre stays.

    Args:
        momentum: m of Eq. 4, in [0, 1).

    Attributes:
        center (Tensor): Shape (1, K), in float32 at least in any model.
    """

    def __init__(self,
                 out_dim: int,
                 momentum: float = 0.9,
                 init_cfg: dict | None = None) -> None:
        super().__init__(out_dim, init_cfg)
        if not 0 <= momentum < 1:
            raise ValueError(
                f'MeanCentering: momentum must be in [0, 1), got {momentum}')
        self.momentum = momentum
        self.register_buffer('center', torch.zeros(1, out_dim))
        self.discard()

    is_by_row = True

    @torch.no_grad()
    def forward(self, logits: Tensor) -> Tensor:
        logits = logits.to(self.center.dtype)
        self.collect(logits)
        return mean_centering(logits, self.center, self.temperature)

    @torch.no_grad()
    def collect(self, logits: Tensor) -> None:
        """Add logits (..., K) to the sum that the centre will be updated with.
        """
        if not self.training:
            return
        logits = logits.to(self.center.dtype)
        count = logits.new_full((1, ), logits.shape[:-1].numel())
        axes = tuple(range(logits.ndim - 1))
        batch = torch.cat([logits.sum(axes), count])
        if self._own:
            self._own[0] += batch
        else:
            self._own = [batch]

    def collected(self) -> list[Tensor]:
        """Return the sum of the logits and their number, (K + 1,), as a list.

        Of those recorded since the last call.
        """
        own, self._own = self._own, []
        self._shared += own
        return own

    @torch.no_grad()
    def update(self) -> None:
        """Move the centre towards the mean of the logits of all ranks.

        Of those since the last update; without any it stays.
        """
        for batch in self.collected():  # without a DINO around
            all_reduce(batch)
        if not self._shared:
            return
        total = sum(self._shared[1:], self._shared[0])
        mean, count = total[:-1] / total[-1].clamp_min(1), total[-1]
        moved = self.center.lerp(mean, 1 - self.momentum)
        torch.where(count > 0, moved, self.center, out=self.center)
        self.discard()

    def discard(self) -> None:
        """Forget the recorded sums, of this rank and of all."""
        self._own = []  # the sum of this rank
        self._shared = []  # those of all ranks, one a forward pass of DINO

    def _apply(self, fn: Callable, recurse: bool = True) -> 'MeanCentering':
        """Move or cast, but never below float32."""
        before = self.center
        super()._apply(fn, recurse)
        wide = torch.promote_types(self.center.dtype, torch.float32)
        if wide != self.center.dtype:
            self.center = before.to(self.center.device, wide)
        self.discard()
        return self


@MODELS.register_module()
class SinkhornKnopp(Centering):
    """Targets that use all prototypes equally; there is no centre.

    The batch is both teacher views of all images on all ranks, or all of
    their masked tokens; ranks need the same K only, and may have no token.
    One iteration is the softmax over the batch, scaled to sums of 1.

    It needs all rows at once: in float32 16 M K bytes for M rows, while they
    are scaled, and 4 M K of targets afterwards.

    Args:
        num_iters: Iterations, 1 or more.

    Raises:
        ValueError: If ``num_iters`` is below 1.
    """

    def __init__(self,
                 out_dim: int,
                 num_iters: int = 3,
                 init_cfg: dict | None = None) -> None:
        super().__init__(out_dim, init_cfg)
        if num_iters < 1:
            raise ValueError('SinkhornKnopp: num_iters must be >= 1, got '
                             f'{num_iters}')
        self.num_iters = num_iters

    @torch.no_grad()
    def forward(self, logits: Tensor) -> Tensor:
        return sinkhorn_knopp(
            at_least_float32(logits), self.temperature, self.num_iters)


@MODELS.register_module()
class NoCentering(Centering):
    """Softmax(logits / temperature) alone, which does not prevent collapse."""
    is_by_row = True

    @torch.no_grad()
    def forward(self, logits: Tensor) -> Tensor:
        return (at_least_float32(logits) / self.temperature).softmax(-1)
