"""The projection head of DINO (Caron et al. 2021, Sec. 3.1 and App. C)."""
from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.utils.parametrizations import weight_norm

from mmdino.registry import MODELS
from .hidden_layers import check_sizes, hidden_layers, init_linear_layers


@MODELS.register_module()
class DINOHead(BaseModule):
    """MLP, L2 normalisation, then a weight-normalised linear layer.

    The student and the teacher own one each; the head holds neither the loss
    nor the centre.

    Args:
        in_channels (int): Width of the backbone's features. :class:`DINO`
            fills it in from the backbone.
        out_dim (int): Number of prototypes K.
        hidden_channels (int): Width of the MLP's hidden layers.
        bottleneck_channels (int): Width of the L2-normalised output of the
            MLP.
        num_layers (int): Linear layers in the MLP, 1 or more.
        use_bn (bool): Batch normalisation after each hidden linear layer.
        act_cfg (dict): Config of the activation after each hidden layer.
        norm_last_layer (bool): Keep the norm g of every prototype at 1. False
            trains it: better for ViT-S, unstable for larger models.

    Raises:
        ValueError: If ``in_channels`` is missing or a size is below 1.
    """

    def __init__(self,
                 in_channels: Optional[int] = None,
                 out_dim: int = 65536,
                 hidden_channels: int = 2048,
                 bottleneck_channels: int = 256,
                 num_layers: int = 3,
                 use_bn: bool = False,
                 act_cfg: dict = dict(type='GELU'),
                 norm_last_layer: bool = True,
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        check_sizes(
            'DINOHead',
            in_channels=in_channels,
            out_dim=out_dim,
            hidden_channels=hidden_channels,
            bottleneck_channels=bottleneck_channels,
            num_layers=num_layers)
        self.in_channels = in_channels
        self.out_dim = out_dim
        widths = [in_channels] + [hidden_channels] * (num_layers - 1)
        self.mlp = nn.Sequential(*hidden_layers(widths, use_bn, act_cfg),
                                 nn.Linear(widths[-1], bottleneck_channels))
        self.last_layer = weight_norm(
            nn.Linear(bottleneck_channels, out_dim, bias=False))
        gain = self.last_layer.parametrizations.weight.original0
        nn.init.ones_(gain)
        gain.requires_grad = not norm_last_layer

    def init_weights(self) -> None:
        """Initialise the MLP; the last layer keeps ``nn.Linear``'s own."""
        super().init_weights()
        init_linear_layers(self.mlp)

    def forward(self, features: Tensor) -> Tensor:
        """Project features (B, D) to logits (B, K).

        In the precision of the weights, also under autocast: half precision
        has too few digits for the temperatures that the logits are divided
        by.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.mlp[0].weight.dtype)
            return self.last_layer(self.project(features))

    def project(self, features: Tensor) -> Tensor:
        """Unit vectors of the bottleneck for features (B, D)."""
        return F.normalize(self.mlp(features), dim=-1)
