"""A head without the bottleneck (arXiv 2104.14294, appendix C)."""
from typing import Optional

import torch
import torch.nn as nn
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.registry import MODELS
from .hidden_layers import check_sizes, hidden_layers, init_linear_layers


@MODELS.register_module()
class MLPHead(BaseModule):
    """MLP up to the prototypes: no bottleneck, no L2 normalisation.

    :class:`DINOHead` is stable at any depth, this one is not.

    Args:
        in_channels (int): Width of the backbone's features. :class:`DINO`
            fills it in from the backbone.
        out_dim (int): Number of prototypes K.
        hidden_channels (int): Width of the hidden layers.
        num_layers (int): Linear layers: ``num_layers - 1`` hidden ones, then
            the prototypes. A :class:`DINOHead` has the prototypes beside its
            ``num_layers``.
        use_bn (bool): Batch normalisation after each hidden linear layer.
        act_cfg (dict): Config of the activation after each hidden layer.

    Raises:
        ValueError: If ``in_channels`` is missing or a size is below 1.
    """

    def __init__(self,
                 in_channels: Optional[int] = None,
                 out_dim: int = 65536,
                 hidden_channels: int = 2048,
                 num_layers: int = 3,
                 use_bn: bool = False,
                 act_cfg: dict = dict(type='GELU'),
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        check_sizes(
            'MLPHead',
            in_channels=in_channels,
            out_dim=out_dim,
            hidden_channels=hidden_channels,
            num_layers=num_layers)
        self.in_channels = in_channels
        self.out_dim = out_dim
        widths = [in_channels] + [hidden_channels] * (num_layers - 1)
        self.mlp = nn.Sequential(*hidden_layers(widths, use_bn, act_cfg))
        self.last_layer = nn.Linear(widths[-1], out_dim, bias=False)

    def init_weights(self) -> None:
        """Initialise the MLP; the last layer keeps ``nn.Linear``'s own."""
        super().init_weights()
        init_linear_layers(self.mlp)

    def forward(self, features: Tensor) -> Tensor:
        """Project features (B, D) to logits (B, K), also under autocast in
        the precision of the weights."""
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.last_layer.weight.dtype)
            return self.last_layer(self.mlp(features))
