"""Reads the figures that the authors' code produced (tests/data/golden*)."""
import os
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mmdino.weights.formats.dinov2 import from_dinov2_vit

GOLDEN = Path(
    os.environ.get('MMDINO_GOLDEN',
                   Path(__file__).parent / 'data' / 'golden'))
GOLDEN_EVAL = Path(
    os.environ.get('MMDINO_GOLDEN_EVAL',
                   Path(__file__).parent / 'data' / 'golden_eval'))

GOLDEN_V2 = Path(
    os.environ.get('MMDINO_GOLDEN_V2',
                   Path(__file__).parent / 'data' / 'golden_v2'))

RENAMES = (('patch_embed.proj.', 'patch_embed.projection.'),
           ('blocks.', 'layers.'), ('.norm1.', '.ln1.'), ('.norm2.', '.ln2.'),
           ('.mlp.fc1.', '.ffn.layers.0.0.'), ('.mlp.fc2.', '.ffn.layers.1.'),
           ('last_layer.weight_g', 'last_layer.parametrizations.weight'
            '.original0'), ('last_layer.weight_v',
                            'last_layer.parametrizations.weight.original1'))


def files(pattern: str, folder: Path = GOLDEN) -> list[Path]:
    """Golden files that match; there must be one at least."""
    found = sorted(folder.glob(pattern))
    assert found, f'no {pattern} in {folder}'
    return found


def load(path: Path) -> dict[str, np.ndarray]:
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


def state(data: dict[str, np.ndarray], prefix: str) -> dict[str, Tensor]:
    """The tensors under ``prefix`` with our names."""
    return {
        our_name(key[len(prefix):]): torch.from_numpy(value)
        for key, value in data.items() if key.startswith(prefix)
    }


def vit_cfg(tensors: dict[str, Tensor], num_heads: int) -> dict:
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


# (interpolate_offset, interpolate_antialias) of the authors' DINOv2.
POS_EMBED_MODES = {
    (.1, False): 'offset',
    (0., False): 'size',
    (0., True): 'antialias',
    (.1, True): 'offset-antialias'
}
# Settings that v2_vit reads, and those that the tensors tell.
VIT_SETTINGS = {
    'interpolate_offset', 'interpolate_antialias', 'num_heads',
    'num_register_tokens', 'ffn_layer', 'img_size', 'patch_size', 'embed_dim',
    'depth', 'mlp_ratio', 'init_values', 'block_chunks', 'qkv_bias',
    'drop_path_rate', 'drop_path_uniform'
}


def settings(data: dict[str, np.ndarray]) -> dict:
    """What was set otherwise than the authors' code has it, as numbers."""
    return {
        key.partition('.')[2]: value.tolist()
        for key, value in data.items() if key.startswith('setting.')
    }


def v2_vit(data: dict[str, np.ndarray], prefix: str = 'state.', **told):
    """Config and state, with our names, of a ViT of the authors' DINOv2.

    Args:
        data: A golden file.
        prefix: Of the network's tensors.
        **told: Settings of a ViT; what no tensor tells is by default the
            authors', and 3 heads.
    """
    assert told.keys() <= VIT_SETTINGS, told.keys() - VIT_SETTINGS
    state = from_dinov2_vit({
        key[len(prefix):]: torch.from_numpy(value)
        for key, value in data.items() if key.startswith(prefix)
    })
    mode = POS_EMBED_MODES[told.get('interpolate_offset', .1),
                           told.get('interpolate_antialias', False)]
    # What vit_cfg reads the width of the FFN from; of SwiGLU's two thirds.
    swiglu = 'layers.0.ffn.w12.weight' in state
    if swiglu:
        hidden = state['layers.0.ffn.w3.weight'].shape[1] * 3 // 2
        state['layers.0.ffn.layers.0.0.weight'] = torch.empty(hidden, 0)
    cfg = vit_cfg(state, told.get('num_heads', 3))
    state.pop('layers.0.ffn.layers.0.0.weight' if swiglu else '', None)
    registers = state.get('register_tokens', torch.empty(1, 0))
    cfg.update(
        pos_embed_mode=mode,
        num_registers=registers.shape[1],
        with_mask_token=True,
        cls_token_std=1e-6,
        layer_scale_init_value=1e-5 * ('layers.0.attn.gamma1.weight' in state),
        layer_cfgs=dict(ffn_type='swiglu_fused') if swiglu else {},
        qkv_bias='layers.0.attn.qkv.bias' in state)
    return cfg, state


def head_cfg(tensors: dict[str, Tensor]) -> dict:
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


def measure(name: str) -> dict[str, Tensor]:
    """What the authors' evaluation of this name was given and computed."""
    arrays = load(GOLDEN_EVAL / f'eval_{name}.npz')
    return {key: torch.from_numpy(value) for key, value in arrays.items()}
