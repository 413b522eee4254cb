"""Sharpening alone, without a guard (arXiv 2104.14294, section 5.3)."""
import torch
from torch import Tensor

from mmdino.registry import MODELS
from ..precision import at_least_float32
from .stateless_centering import StatelessCentering


@MODELS.register_module()
class NoCentering(StatelessCentering):
    """softmax(logits / temperature): nothing keeps all images apart.

    Args:
        out_dim (int): Number of prototypes K.
    """

    @torch.no_grad()
    def forward(self, logits: Tensor) -> Tensor:
        """Turn teacher logits (T, B, K) into targets (T, B, K)."""
        return (at_least_float32(logits) / self.temperature).softmax(-1)
