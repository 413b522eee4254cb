"""Centerings: how a teacher's logits become targets without collapse.

Letters: T teacher views, B images, M masked tokens, K prototypes. Logits may
have any leading axes: (T, B, K) for class tokens, (M, K) for masked tokens,
where M may be 0.
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

    Args:
        logits: The teacher's, (..., K).
        center: (1, K).
        temp: Teacher temperature. Below the student's it sharpens the targets.

    Returns:
        Distributions over K, (..., K).
    """
    return (logits - center).div_(temp).softmax(-1)


def sinkhorn_knopp(logits: Tensor, temp: float, num_iters: int) -> Tensor:
    """Compute targets that use all prototypes equally, by Sinkhorn-Knopp.

    The targets are exp(logits / temp) with rescaled rows and columns. Each
    iteration first scales the columns, so that all prototypes have the same
    sum over the batch of all ranks, then the rows, so that the targets of
    each image sum to 1. The row sums are exact, equal column sums are the
    limit of many iterations. One iteration is the softmax over the batch of
    appendix B, rescaled to sums of 1. Source: SwAV (Caron et al. 2020, arXiv
    2006.09882).

    The first iteration works on logarithms, because exp overflows at small
    temperatures. After it every prototype has a sum of at least 1 / K, and
    later iterations only update the factors of rows and columns.

    Args:
        logits: (..., K).
        temp: Teacher temperature, the strength of the regularisation.
        num_iters: Iterations, at least 1.

    Returns:
        Distributions over K, (..., K).
    """
    scores = logits.flatten(0, -2) / temp
    # Reused below: on a CPU, allocating costs more time than exp.
    buffer = torch.empty_like(scores)
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

    The largest logit of each column is subtracted first, so that exp does not
    overflow.

    Args:
        logits: (N, K); a rank may have no rows.
        buffer: Same shape as ``logits``, overwritten.
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
    calls :meth:`update` after each optimizer step. Subclasses implement
    ``forward``. Those that update a state from the batches also implement
    :meth:`collect`, :meth:`collected`, :meth:`update` and :meth:`discard`.

    Args:
        out_dim: Number of prototypes K. :class:`DINO` fills it in from the
            head.

    Attributes:
        temperature (float): Teacher temperature.
        is_by_row (bool): Whether the targets of a row of logits depend on
            that row alone, so that they can be computed in chunks.
    """
    is_by_row = False

    def __init__(self, out_dim: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.out_dim = out_dim
        self.temperature = 0.04

    @abstractmethod
    def forward(self, logits: Tensor) -> Tensor:
        """Turn logits (..., K) into targets (..., K), without gradient.

        The targets are distributions over K, in float32 or float64. All ranks
        call this equally often, even with no rows, because subclasses may
        communicate.
        """

    def collect(self, logits: Tensor) -> None:
        """Record logits (..., K) for the next update without using targets.

        In training mode only. ``forward`` records the logits that it turns
        into targets by itself. The base class records nothing.
        """

    def collected(self) -> list[Tensor]:
        """Return the statistics recorded since the last call, to be summed in
        place over the ranks.

        :class:`DINO` calls this after each forward pass and sums the
        statistics of the whole model in one all-reduce. The base class
        returns an empty list.
        """
        return []

    def update(self) -> None:
        """Update the state from what was recorded since the last step.

        The base class has no state.
        """

    def discard(self) -> None:
        """Forget what was recorded, because the optimizer step is skipped."""


@MODELS.register_module()
class MeanCentering(Centering):
    """Subtract a running mean of the logits, the centre (Eq. 4), then softmax.

    The mean is taken over all rows on all ranks. Where ranks have different
    numbers of masked tokens, each token has the same weight; the authors of
    DINOv2 give each rank the same weight. Without any rows the centre does
    not move.

    Args:
        out_dim: Number of prototypes K, see :class:`Centering`.
        momentum: m of Eq. 4, in [0, 1).

    Attributes:
        center (Tensor): Shape (1, K), in float32 or float64, also in a model
            in half precision.

    Raises:
        ValueError: If ``momentum`` is not in [0, 1).
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

        The list is empty if no logits were recorded since the last call.
        """
        own, self._own = self._own, []
        self._shared += own
        return own

    @torch.no_grad()
    def update(self) -> None:
        """Move the centre towards the mean of the logits of all ranks.

        The mean is taken over the logits recorded since the last update. The
        centre does not move if there are none.
        """
        # DINO has summed these over the ranks already; used on its own, the
        # centering does so here.
        for batch in self.collected():
            all_reduce(batch)
        if not self._shared:
            return
        total = sum(self._shared[1:], self._shared[0])
        mean, count = total[:-1] / total[-1].clamp_min(1), total[-1]
        moved = self.center.lerp(mean, 1 - self.momentum)
        torch.where(count > 0, moved, self.center, out=self.center)
        self.discard()

    def discard(self) -> None:
        """Forget the recorded sums, both this rank's and those of all ranks.
        """
        self._own = []  # at most one sum, of this rank
        self._shared = []  # sums over all ranks, one per forward pass

    def _apply(self, fn: Callable, recurse: bool = True) -> 'MeanCentering':
        """Move or cast the module, but keep the centre at least float32."""
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

    The batch consists of all teacher views of all images on all ranks, or of
    all of their masked tokens. Ranks may have different numbers of rows, also
    none. One iteration is the softmax over the batch, rescaled to sums of 1.

    All rows of a rank are processed at once. In float32, M rows take 12 M K
    bytes, the logits included; the targets keep 4 M K of these.

    Args:
        out_dim: Number of prototypes K, see :class:`Centering`.
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
