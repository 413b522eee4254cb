"""Projection heads (arXiv 2104.14294, Sec. 3.1, Tab. 7 and App. C).

Letters: B images, D features, K prototypes.
"""
import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import build_activation_layer
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.init import trunc_normal_
from torch.nn.utils.parametrizations import weight_norm

from mmdino.models.backbones.pretrained import pretrained_cfg
from mmdino.registry import MODELS
from mmdino.weights.network import load_pretrained


class _WithMLP(BaseModule):
    """Base class of modules with an ``mlp`` and the authors' initialisation.
    """

    def init_weights(self) -> None:
        """Initialise linear layers: truncated normal of deviation .02, biases
        0.

        ``last_layer`` keeps the default initialisation of ``nn.Linear``. An
        ``init_cfg`` of type ``Pretrained`` loads all weights instead.

        Raises:
            ValueError: If such an ``init_cfg`` has no prefix.
            CheckpointError: If its weights do not fit.
        """
        cfg = pretrained_cfg(self.init_cfg)
        if cfg:
            self._load(cfg)
            return
        super().init_weights()
        for layer in self.mlp.modules():
            if isinstance(layer, nn.Linear):
                trunc_normal_(layer.weight, std=.02)
                nn.init.zeros_(layer.bias)

    def _load(self, cfg: dict) -> None:
        name = type(self).__name__
        if not cfg.get('prefix'):
            raise ValueError(f'{name}: init_cfg={cfg} has no prefix: name the '
                             "part of the file to load, as prefix='head.'.")
        load_pretrained(self, cfg.get('checkpoint'), cfg['prefix'],
                        f'init_cfg.checkpoint of {name}')
        self._is_init = True

    def _check_sizes(self, **sizes: int | None) -> None:
        for name, size in sizes.items():
            if not isinstance(size, int) or size < 1:
                raise ValueError(f'{type(self).__name__}: {name} must be a '
                                 f'positive integer, got {size}')


@MODELS.register_module()
class DINOHead(_WithMLP):
    """Projection head: MLP, L2 normalisation, weight-normalised linear layer.

    The student and the teacher have one each. The loss and the centre are
    separate modules. ``project`` and ``last_layer`` are its two halves:
    :class:`DINO` puts a predictor between them, or passes the output of the
    first half and the weight of the second to a loss that works in chunks.

    Args:
        in_channels: Width of the backbone's features. :class:`DINO` fills it
            in from the backbone.
        out_dim: Number of prototypes K.
        hidden_channels: Width of the MLP's hidden layers.
        bottleneck_channels: Width of the MLP's L2-normalised output.
        num_layers: Linear layers in the MLP, 1 or more.
        use_bn: Batch normalisation after each hidden linear layer.
        act_cfg: Config of the activation after each hidden layer.
        norm_last_layer: Keep the norm g of every prototype fixed at 1. False
            trains g, which is better for ViT-S and unstable for larger models.

    Raises:
        ValueError: If ``in_channels`` is missing or a size is below 1.
    """

    def __init__(self,
                 in_channels: int | None = None,
                 out_dim: int = 65536,
                 hidden_channels: int = 2048,
                 bottleneck_channels: int = 256,
                 num_layers: int = 3,
                 use_bn: bool = False,
                 act_cfg: dict = dict(type='GELU'),
                 norm_last_layer: bool = True,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self._check_sizes(
            in_channels=in_channels,
            out_dim=out_dim,
            hidden_channels=hidden_channels,
            bottleneck_channels=bottleneck_channels,
            num_layers=num_layers)
        self.in_channels = in_channels
        self.out_dim = out_dim
        self.mlp = build_mlp(in_channels, hidden_channels, num_layers - 1,
                             use_bn, act_cfg, bottleneck_channels)
        self.last_layer = weight_norm(
            nn.Linear(bottleneck_channels, out_dim, bias=False))
        gain = self.last_layer.parametrizations.weight.original0
        nn.init.ones_(gain)
        gain.requires_grad = not norm_last_layer

    def forward(self, features: Tensor) -> Tensor:
        """Project features (B, D) to logits (B, K).

        Computed in the precision of the weights, also under autocast: half
        precision has too few digits for logits that are divided by a small
        temperature.
        """
        with torch.autocast(features.device.type, enabled=False):
            return self.last_layer(self.project(features))

    def project(self, features: Tensor) -> Tensor:
        """Compute the bottleneck's unit vectors of features (B, D).

        Computed in the precision of the weights, also under autocast.

        Returns:
            Shape (B, bottleneck_channels).
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.mlp[0].weight.dtype)
            return F.normalize(self.mlp(features), dim=-1)


@MODELS.register_module()
class MLPHead(_WithMLP):
    """Projection head without bottleneck and L2 normalisation: an MLP.

    Training with it is not stable at every depth, whereas it is with a
    :class:`DINOHead`.

    Args:
        in_channels: As of :class:`DINOHead`.
        out_dim: Number of prototypes K.
        hidden_channels: Width of the hidden layers.
        num_layers: Linear layers, the last of which (``last_layer``) gives the
            logits. In a :class:`DINOHead` that layer is not counted.
        use_bn: As of :class:`DINOHead`.
        act_cfg: As of :class:`DINOHead`.

    Raises:
        ValueError: If ``in_channels`` is missing or a size is below 1.
    """

    def __init__(self,
                 in_channels: int | None = None,
                 out_dim: int = 65536,
                 hidden_channels: int = 2048,
                 num_layers: int = 3,
                 use_bn: bool = False,
                 act_cfg: dict = dict(type='GELU'),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self._check_sizes(
            in_channels=in_channels,
            out_dim=out_dim,
            hidden_channels=hidden_channels,
            num_layers=num_layers)
        self.in_channels = in_channels
        self.out_dim = out_dim
        self.mlp = build_mlp(in_channels, hidden_channels, num_layers - 1,
                             use_bn, act_cfg)
        self.last_layer = nn.Linear(
            hidden_channels if num_layers > 1 else in_channels,
            out_dim,
            bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Project features (B, D) to logits (B, K).

        Computed in the precision of the weights, also under autocast.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.last_layer.weight.dtype)
            return self.last_layer(self.mlp(features))


@MODELS.register_module()
class Predictor(_WithMLP):
    """MLP that predicts unit vectors from the bottleneck's unit vectors.

    It follows BYOL's predictor (Grill et al. 2020, arXiv 2006.07733, section
    3.3).

    Args:
        channels: Width of the bottleneck. :class:`DINO` fills it in from the
            head.
        hidden_channels: Width of the hidden layers.
        num_layers: Linear layers, 1 or more.
        use_bn: As of :class:`DINOHead`.
        act_cfg: As of :class:`DINOHead`.

    Raises:
        ValueError: If ``channels`` is missing or a size is below 1.
    """

    def __init__(self,
                 channels: int | None = None,
                 hidden_channels: int = 2048,
                 num_layers: int = 2,
                 use_bn: bool = False,
                 act_cfg: dict = dict(type='GELU'),
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        self._check_sizes(
            channels=channels,
            hidden_channels=hidden_channels,
            num_layers=num_layers)
        self.mlp = build_mlp(channels, hidden_channels, num_layers - 1, use_bn,
                             act_cfg, channels)

    def forward(self, projection: Tensor) -> Tensor:
        """Predict unit vectors (B, channels) from unit vectors (B, channels).
        """
        return F.normalize(self.mlp(projection), dim=-1)


def build_mlp(in_channels: int,
              hidden_channels: int,
              num_hidden: int,
              use_bn: bool,
              act_cfg: dict,
              out_channels: int | None = None) -> nn.Sequential:
    """Build an MLP of hidden linear layers and an optional last linear layer.

    Args:
        in_channels: Width of the input.
        hidden_channels: Width of the hidden layers.
        num_hidden: Number of hidden layers.
        use_bn: Batch normalisation after each hidden linear layer.
        act_cfg: Config of the activation at the end of each hidden layer.
        out_channels: Width of the last linear layer, which has neither
            normalisation nor activation; None leaves it out.
    """
    layers, width = [], in_channels
    for _ in range(num_hidden):
        layers.append(nn.Linear(width, hidden_channels))
        if use_bn:
            layers.append(nn.BatchNorm1d(hidden_channels))
        layers.append(build_activation_layer(act_cfg))
        width = hidden_channels
    if out_channels is not None:
        layers.append(nn.Linear(width, out_channels))
    return nn.Sequential(*layers)
