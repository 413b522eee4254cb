"""Reads the figures that the authors' code produced (tests/data/golden*)."""
import os
import re
from pathlib import Path
from typing import Dict, List

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(
    os.environ.get('MMDINO_GOLDEN',
                   Path(__file__).parent / 'data' / 'golden'))
GOLDEN_EVAL = Path(
    os.environ.get('MMDINO_GOLDEN_EVAL',
                   Path(__file__).parent / 'data' / 'golden_eval'))

RENAMES = (('patch_embed.proj.', 'patch_embed.projection.'),
           ('blocks.', 'layers.'), ('.norm1.', '.ln1.'), ('.norm2.', '.ln2.'),
           ('.mlp.fc1.', '.ffn.layers.0.0.'), ('.mlp.fc2.', '.ffn.layers.1.'),
           ('last_layer.weight_g', 'last_layer.parametrizations.weight'
            '.original0'), ('last_layer.weight_v',
                            'last_layer.parametrizations.weight.original1'))


def files(pattern: str) -> List[Path]:
    """Golden files that match; there must be one at least."""
    found = sorted(GOLDEN.glob(pattern))
    assert found, f'no {pattern} in {GOLDEN}'
    return found


def load(path: Path) -> Dict[str, np.ndarray]:
    with np.load(path) as archive:
        return dict(archive)


def our_name(name: str) -> str:
    """An official parameter name in our spelling."""
    prefix, _, rest = name.rpartition('backbone.')
    if rest.startswith('norm.'):
        return name[:len(name) - len(rest)] + rest.replace('norm.', 'ln1.')
    for official, ours in RENAMES:
        name = name.replace(official, ours)
    # A head of one linear layer is no Sequential there.
    return re.sub(r'\bmlp\.(weight|bias)$', r'mlp.0.\1', name)


def state(data: Dict[str, np.ndarray], prefix: str) -> Dict[str, Tensor]:
    """The tensors under ``prefix`` with our names."""
    return {
        our_name(key[len(prefix):]): torch.from_numpy(value)
        for key, value in data.items() if key.startswith(prefix)
    }


def vit_cfg(tensors: Dict[str, Tensor], num_heads: int) -> dict:
    """A VisionTransformer config of the sizes found in its state."""
    proj = tensors['patch_embed.projection.weight']
    width, channels, patch, _ = proj.shape
    side = int((tensors['pos_embed'].shape[1] - 1)**0.5)
    depth = 1 + max(
        int(k.split('.')[1]) for k in tensors if k.startswith('layers.'))
    hidden = tensors['layers.0.ffn.layers.0.0.weight'].shape[0]
    arch = dict(
        embed_dims=width,
        num_layers=depth,
        num_heads=num_heads,
        feedforward_channels=hidden)
    return dict(
        type='mmdino.VisionTransformer',
        arch=arch,
        img_size=side * patch,
        patch_size=patch,
        in_channels=channels)


def head_cfg(tensors: Dict[str, Tensor]) -> dict:
    """A DINOHead config of the sizes found in its state."""
    linear = [
        v for k, v in tensors.items()
        if k.startswith('mlp.') and k.endswith('.weight') and v.ndim == 2
    ]
    out_dim, bottleneck = tensors[
        'last_layer.parametrizations.weight.original1'].shape
    return dict(
        type='mmdino.DINOHead',
        in_channels=linear[0].shape[1],
        out_dim=out_dim,
        hidden_channels=linear[0].shape[0],
        bottleneck_channels=bottleneck,
        num_layers=len(linear),
        use_bn=any('running_mean' in k for k in tensors))


def measure(name: str) -> Dict[str, Tensor]:
    """What the authors' evaluation of this name was given and computed."""
    arrays = load(GOLDEN_EVAL / f'eval_{name}.npz')
    return {key: torch.from_numpy(value) for key, value in arrays.items()}
