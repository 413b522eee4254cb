"""What the guards that keep nothing between batches have in common."""
from typing import Optional

from mmengine.model import BaseModule


class StatelessCentering(BaseModule):
    """From teacher logits to targets, by this batch alone.

    Subclasses give ``forward``, from logits (T, B, K) to distributions of the
    same shape over the K prototypes.

    Args:
        out_dim (int): Number of prototypes K. :class:`DINO` fills it in from
            the head, for every guard.

    Attributes:
        temperature (float): Teacher temperature, set by
            :class:`CenteringHook`.
    """

    def __init__(self, out_dim: int, init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        self.out_dim = out_dim
        self.temperature = 0.04

    def update(self) -> None:
        """Nothing moves after a step."""

    def discard(self) -> None:
        """Nothing was collected."""

    def extra_repr(self) -> str:
        return f'out_dim={self.out_dim}'
