"""A predictor on the student's projection (arXiv 2104.14294, Tab. 7)."""
from typing import Optional

import torch.nn as nn
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor

from mmdino.registry import MODELS
from .hidden_layers import check_sizes, hidden_layers, init_linear_layers


@MODELS.register_module()
class Predictor(BaseModule):
    """MLP from the bottleneck's unit vectors to unit vectors.

    After BYOL's (Grill et al. 2020, arXiv 2006.07733, section 3.3).

    Args:
        channels (int): Width of the bottleneck. :class:`PredictorDINO` fills
            it in from the head.
        hidden_channels (int): Width of the hidden layers.
        num_layers (int): Linear layers, 1 or more.
        use_bn (bool): Batch normalisation after each hidden linear layer.
        act_cfg (dict): Config of the activation after each hidden layer.

    Raises:
        ValueError: If ``channels`` is missing or a size is below 1.
    """

    def __init__(self,
                 channels: Optional[int] = None,
                 hidden_channels: int = 2048,
                 num_layers: int = 2,
                 use_bn: bool = False,
                 act_cfg: dict = dict(type='GELU'),
                 init_cfg: Optional[dict] = None) -> None:
        super().__init__(init_cfg)
        check_sizes(
            'Predictor',
            channels=channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers)
        widths = [channels] + [hidden_channels] * (num_layers - 1)
        self.mlp = nn.Sequential(*hidden_layers(widths, use_bn, act_cfg),
                                 nn.Linear(widths[-1], channels))

    def init_weights(self) -> None:
        """Initialise as the head's MLP."""
        super().init_weights()
        init_linear_layers(self.mlp)

    def forward(self, projection: Tensor) -> Tensor:
        """Predict from (B, channels) a unit vector (B, channels)."""
        return F.normalize(self.mlp(projection), dim=-1)
