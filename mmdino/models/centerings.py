"""What turns a teacher's logits into targets and keeps it from collapsing.

T teacher views, B images, K prototypes.
"""
from abc import abstractmethod
from collections.abc import Callable

import torch
from mmengine.dist import all_reduce
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.functional.centering import mean_centering, sinkhorn_knopp
from mmdino.functional.losses import at_least_float32
from mmdino.registry import MODELS


class Centering(BaseModule):
    """From a teacher's logits to its targets.

    :class:`CenteringHook` sets the temperature before each iteration and
    calls :meth:`update` after each optimizer step. Subclasses give
    ``forward``; those that keep something of the batches, the other three.

    Args:
        out_dim (int): Number of prototypes K. :class:`DINO` fills it in from
            the head.

    Attributes:
        temperature (float): Teacher temperature.
    """

    def __init__(self, out_dim: int, init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self.out_dim = out_dim
        self.temperature = 0.04

    @abstractmethod
    def forward(self, logits: Tensor) -> Tensor:
        """Turn logits (T, B, K) into targets (T, B, K), without gradient.

        The targets are distributions over K, in float32 at least.
        """

    def collected(self) -> list[Tensor]:
        """What is new since the last call, for the ranks to add up in place.

        :class:`DINO` asks after each forward pass, so that one all-reduce
        serves the whole model. Here nothing.
        """
        return []

    def update(self) -> None:
        """Move by what was collected since the last step: here nothing."""

    def discard(self) -> None:
        """Forget what was collected: the step is skipped."""


@MODELS.register_module()
class MeanCentering(Centering):
    """Logits less a running mean, the centre (Eq. 4), then a softmax.

    Args:
        momentum (float): m of Eq. 4, in [0, 1).

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

    def forward(self, logits: Tensor) -> Tensor:
        logits = logits.to(self.center.dtype)
        if self.training:
            count = logits.new_full((1, ), logits.shape[0] * logits.shape[1])
            self._own.append(torch.cat([logits.sum((0, 1)), count]))
        return mean_centering(logits, self.center, self.temperature)

    def collected(self) -> list[Tensor]:
        """Sums of logits and their number, (K + 1, ), one a batch."""
        own, self._own = self._own, []
        self._shared += own
        return own

    @torch.no_grad()
    def update(self) -> None:
        """Move the centre by the logits of all ranks since the last update,
        if there are any."""
        for batch in self.collected():  # without a DINO around
            all_reduce(batch)
        if not self._shared:
            return
        total = sum(self._shared[1:], self._shared[0])
        self.center.lerp_(total[:-1] / total[-1], 1 - self.momentum)
        self.discard()

    def discard(self) -> None:
        self._own = []  # batches of this rank
        self._shared = []  # of all ranks

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
    """Targets that use all prototypes alike, in the place of a centre.

    The batch is both teacher views of all images on all ranks, which need the
    same K only. One iteration is the softmax over the batch, scaled to sums
    of 1.

    Args:
        num_iters (int): Iterations, 1 or more.

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
    """softmax(logits / temperature): nothing keeps all images apart."""

    @torch.no_grad()
    def forward(self, logits: Tensor) -> Tensor:
        return (at_least_float32(logits) / self.temperature).softmax(-1)
