"""Blocks of a ViT: stochastic depth (Huang et al. 2016) and checkpointing.

Letters: B images, M tokens, D features.
"""
from collections.abc import Callable, Sequence

import torch
import torch.nn as nn
from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones.vision_transformer import \
    TransformerEncoderLayer
from mmpretrain.models.utils import SwiGLUFFN
from torch import Tensor
from torch.utils.checkpoint import checkpoint


class EncoderLayer(TransformerEncoderLayer):
    """mmpretrain's block with two options that make training cheaper.

    Its weights are mmpretrain's, and so are its results while both options are
    off.

    Attributes:
        subset_rate (float): In training, the share of the images that each
            branch leaves out, see :func:`add_of_subset`.
        with_cp (bool): Activation checkpointing: keep only the input for the
            backward pass, which computes the block again with the same random
            numbers.
    """
    subset_rate = 0.
    with_cp = False

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens (B, M, D) into tokens (B, M, D)."""
        if self.with_cp and torch.is_grad_enabled():
            return checkpoint(self._run, x, use_reentrant=False)
        return self._run(x)

    def _run(self, x: Tensor) -> Tensor:
        if not (self.training and self.subset_rate):
            return super().forward(x)
        x = add_of_subset(x, lambda some: self.attn(self.ln1(some)),
                          self.subset_rate)
        return add_of_subset(
            x, lambda some: self.ffn(self.ln2(some), identity=0.),
            self.subset_rate)


def add_of_subset(x: Tensor, branch: Callable[[Tensor], Tensor],
                  rate: float) -> Tensor:
    """Add a residual branch to a random subset of the images.

    This is stochastic depth that saves the computation of the images it leaves
    out (DINOv2, arXiv 2304.07193, section 5). The branch is computed for n =
    ``int(B (1 - rate))`` images, at least one, and added with the factor
    B / n, so that its expectation is that of the branch on all images. The
    images are drawn from PyTorch's default generator of the device.

    Args:
        x: Shape (B, ...).
        branch: Computes the residual of a part of the images, same shape.
        rate: Share of the images to leave out, in [0, 1].

    Returns:
        Shape (B, ...), in the dtype of ``x``.
    """
    count = max(int(len(x) * (1 - rate)), 1)
    chosen = torch.randperm(len(x), device=x.device)[:count]
    added = branch(x.index_select(0, chosen)).to(x.dtype)
    return x.index_add(0, chosen, added, alpha=len(x) / count)


def switch_blocks(layers: nn.ModuleList, by_subset: bool,
                  with_cp: bool) -> None:
    """Turn mmpretrain's blocks into :class:`EncoderLayer`, in place.

    Args:
        layers: mmpretrain's blocks.
        by_subset: Replace ``DropPath``, which draws for each image
            independently, by :func:`add_of_subset` with the same rate.
        with_cp: See :class:`EncoderLayer`.
    """
    if not (by_subset or with_cp):
        return
    for layer in layers:
        layer.__class__ = EncoderLayer
        layer.with_cp = with_cp
        if by_subset:
            layer.subset_rate = layer.attn.out_drop.drop_prob
            layer.attn.out_drop = nn.Identity()
            layer.ffn.dropout_layer = nn.Identity()


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
        ValueError: If ``drop_rate`` is set for a block with SwiGLU, which has
            no dropout.
    """
    for layer in layers:
        if isinstance(layer.ffn, SwiGLUFFN):
            if layer.attn.proj_drop.p:
                raise ValueError(
                    f'drop_rate={layer.attn.proj_drop.p}, but SwiGLU has no '
                    'dropout: set drop_rate=0 and use drop_path_rate.')
            layer.ffn.dropout_layer = DropPath(layer.attn.out_drop.drop_prob)
    for module in layers.modules():
        if isinstance(module, DropPath):
            # mmpretrain's rate is a NumPy float, which torch.compile treats
            # as a tensor: branching on it would break the graph in each block.
            module.drop_prob = float(module.drop_prob)
