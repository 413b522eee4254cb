"""Rates of stochastic depth in a ViT (Huang et al. 2016)."""
from collections.abc import Sequence

import torch.nn as nn
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.utils import SwiGLUFFN


def with_uniform_rate(layer_cfgs: dict | Sequence[dict],
                      drop_path_rate: float) -> dict | list[dict]:
    """Fill in a uniform drop-path rate in mmpretrain's ``layer_cfgs``."""
    if isinstance(layer_cfgs, dict):
        return {'drop_path_rate': drop_path_rate, **layer_cfgs}
    return [with_uniform_rate(cfg, drop_path_rate) for cfg in layer_cfgs]


def complete_stochastic_depth(layers: nn.ModuleList) -> None:
    """Apply stochastic depth to SwiGLU's branch, which mmpretrain omits.

    Args:
        layers: mmpretrain's blocks, changed in place.

    Raises:
        ValueError: If a block with SwiGLU has dropout, which it has not.
    """
    for layer in layers:
        if isinstance(layer.ffn, SwiGLUFFN):
            if layer.attn.proj_drop.p:
                raise ValueError(
                    f'drop_rate={layer.attn.proj_drop.p}: SwiGLU has no '
                    'dropout. Leave it 0 and set drop_path_rate.')
            layer.ffn.dropout_layer = DropPath(layer.attn.out_drop.drop_prob)
    for module in layers.modules():
        if isinstance(module, DropPath):
            # NumPy's, which torch.compile takes for a tensor: it could
            # not branch on it, and would break every block in pieces.
            module.drop_prob = float(module.drop_prob)
