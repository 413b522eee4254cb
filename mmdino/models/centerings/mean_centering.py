"""Centring and sharpening of the teacher (Caron et al. 2021, Eq. 4)."""
from typing import Callable, Optional

import torch
from mmengine.dist import all_reduce
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.registry import MODELS


def mean_centering(logits: Tensor, center: Tensor, temp: float) -> Tensor:
    """softmax((logits - center) / temp) over the K prototypes.

    Args:
        logits (Tensor): Teacher logits, shape (..., K).
        center (Tensor): Shape (1, K).
        temp (float): Teacher temperature; below the student's it sharpens.
    """
    return (logits - center).div_(temp).softmax(-1)


@MODELS.register_module()
class MeanCentering(BaseModule):
    """Teacher logits to targets with a running mean as the centre.

    ``forward`` uses the centre as it stands and collects the batch's logits;
    :meth:`update` moves the centre. :class:`CenteringHook` calls it once an
    optimizer step, and sets :attr:`temperature`.

    Args:
        out_dim (int): Number of prototypes K. :class:`DINO` fills it in from
            the head.
        momentum (float): m of Eq. 4, in [0, 1).

    Attributes:
        center (Tensor): Shape (1, K), in float32 at least, whatever precision
            the model is cast to.
        temperature (float): Teacher temperature.
    """

    def __init__(self,
                 out_dim: int,
                 momentum: float = 0.9,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        if not 0 <= momentum < 1:
            raise ValueError(
                f'MeanCentering: momentum must be in [0, 1), got {momentum}')
        self.momentum = momentum
        self.temperature = 0.04
        self.register_buffer('center', torch.zeros(1, out_dim))
        self._reset()

    def forward(self, logits: Tensor) -> Tensor:
        """Turn teacher logits (T, B, K) into targets (T, B, K)."""
        logits = logits.to(self.center.dtype)
        if self.training:
            self._sum = self._sum + logits.sum((0, 1))
            self._count += logits.shape[0] * logits.shape[1]
        return mean_centering(logits, self.center, self.temperature)

    @torch.no_grad()
    def update(self) -> None:
        """Move the centre by the logits of all ranks since the last update.

        Does nothing when none were collected.
        """
        if not self._count:
            return
        total = torch.cat([self._sum, self._sum.new_tensor([self._count])])
        all_reduce(total)
        mean = total[:-1] / total[-1]
        self.center.lerp_(mean, 1 - self.momentum)
        self._reset()

    def discard(self) -> None:
        """Forget what was collected: the step is skipped."""
        self._reset()

    def _reset(self) -> None:
        self._sum = self.center.new_zeros(self.center.shape[-1])
        self._count = 0

    def _apply(self, fn: Callable, recurse: bool = True) -> 'MeanCentering':
        """Move or cast, but never below float32."""
        before = self.center
        super()._apply(fn, recurse)
        wide = torch.promote_types(self.center.dtype, torch.float32)
        if wide != self.center.dtype:
            self.center = before.to(self.center.device, wide)
        self._reset()
        return self
