"""The hidden layers of heads and predictors."""
from typing import List, Sequence

import torch.nn as nn
from mmcv.cnn import build_activation_layer
from torch.nn.init import trunc_normal_


def hidden_layers(widths: Sequence[int], use_bn: bool,
                  act_cfg: dict) -> List[nn.Module]:
    """Linear layers of the given widths, each with (BN and) an activation.

    Args:
        widths (Sequence[int]): Of the input and of each layer's output.
        use_bn (bool): Batch normalisation before the activation.
        act_cfg (dict): Config of the activation, such as
            ``dict(type='GELU')``.
    """
    layers = []
    for in_channels, out_channels in zip(widths[:-1], widths[1:]):
        layers.append(nn.Linear(in_channels, out_channels))
        if use_bn:
            layers.append(nn.BatchNorm1d(out_channels))
        layers.append(build_activation_layer(act_cfg))
    return layers


def init_linear_layers(module: nn.Module) -> None:
    """Normal weights of deviation .02, cut off, and biases of 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            trunc_normal_(layer.weight, std=.02)
            nn.init.zeros_(layer.bias)


def check_sizes(owner: str, **sizes: int) -> None:
    """Refuse what is no positive integer.

    Raises:
        ValueError: Naming the owner, the argument and its value.
    """
    for name, size in sizes.items():
        if not isinstance(size, int) or size < 1:
            raise ValueError(
                f'{owner}: {name} must be a positive integer, got {size}')
