"""Hugging Face transformers' ViT (without pooler) and DINOv2.

The names are those in its files, which ``from_pretrained`` reads;
config.json and preprocessor_config.json beside a file tell its network.
"""
import os.path as osp
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.fileio import load

from mmdino.weights.infer import (LAYER_SCALE, MASK_TOKEN, REGISTERS, SWIGLU,
                                  build_empty, dinov2_parts, swiglu_width)
from mmdino.weights.keys import (CheckpointError, StateDict, flipped, join_qkv,
                                 rename, split_qkv)

# Pairs of their name and ours, with query, key and value in separate layers.
NAMES = (
    ('embeddings.cls_token', 'cls_token'),
    ('embeddings.position_embeddings', 'pos_embed'),
    ('embeddings.patch_embeddings.projection.{p}',
     'patch_embed.projection.{p}'),
    *((f'encoder.layer.{{n}}.{theirs}.{{p}}', f'layers.{{n}}.{ours}.{{p}}')
      for theirs, ours in (
          ('layernorm_before', 'ln1'),
          ('attention.attention.query', 'attn.q'),
          ('attention.attention.key', 'attn.k'),
          ('attention.attention.value', 'attn.v'),
          ('attention.output.dense', 'attn.proj'),
          ('layernorm_after', 'ln2'),
          ('intermediate.dense', 'ffn.layers.0.0'),
          ('output.dense', 'ffn.layers.1'),
      )),
    ('layernorm.{p}', 'ln1.{p}'),
)
DINOV2_NAMES = (
    *NAMES[:3],
    ('embeddings.mask_token', 'mask_token'),
    ('embeddings.register_tokens', 'register_tokens'),
    *((f'encoder.layer.{{n}}.{theirs}', f'layers.{{n}}.{ours}')
      for theirs, ours in (
          ('norm1.{p}', 'ln1.{p}'),
          ('attention.attention.query.{p}', 'attn.q.{p}'),
          ('attention.attention.key.{p}', 'attn.k.{p}'),
          ('attention.attention.value.{p}', 'attn.v.{p}'),
          ('attention.output.dense.{p}', 'attn.proj.{p}'),
          ('layer_scale1.lambda1', 'attn.gamma1.weight'),
          ('norm2.{p}', 'ln2.{p}'),
          ('mlp.fc1.{p}', 'ffn.layers.0.0.{p}'),
          ('mlp.fc2.{p}', 'ffn.layers.1.{p}'),
          ('mlp.weights_in.{p}', 'ffn.w12.{p}'),
          ('mlp.weights_out.{p}', 'ffn.w3.{p}'),
          ('layer_scale2.lambda1', 'ffn.gamma2.weight'),
      )),
    NAMES[-1],
)
# Prefixes of the names: none, or that of a model for a task.
PREFIXES = ('', 'vit.', 'dinov2.', 'dinov2_with_registers.')
MODEL_TYPES = ('vit', 'dinov2', 'dinov2_with_registers')
FILE, CONFIG, PROCESSOR = ('model.safetensors', 'config.json',
                           'preprocessor_config.json')


def is_hf(state: Mapping[str, Any]) -> bool:
    """Return whether names are those of transformers."""
    return any(f'{prefix}embeddings.cls_token' in state for prefix in PREFIXES)


def from_hf(state: StateDict) -> StateDict:
    """Convert a ViT to our names."""
    prefix = next((p for p in PREFIXES if f'{p}embeddings.cls_token' in state),
                  '')
    state = {key.removeprefix(prefix): value for key, value in state.items()}
    names, what = NAMES, "transformers' ViT"
    if 'encoder.layer.0.layer_scale1.lambda1' in state:
        names, what = DINOV2_NAMES, "transformers' DINOv2"
    return join_qkv(rename(state, names, what), r'layers\.\d+\.attn')


def to_hf(backbone: StateDict) -> StateDict:
    """Convert a ViT to the names of transformers."""
    names, what = NAMES, "transformers' ViT"
    if LAYER_SCALE in dinov2_parts(backbone):
        names, what = DINOV2_NAMES, "transformers' DINOv2"
    backbone = split_qkv(backbone, r'layers\.\d+\.attn\.qkv')
    return rename(backbone, flipped(names), what)


def mask_token(parts: Sequence[str]) -> bool | None:
    """Return whether the model for a ViT with these parts has a mask token."""
    if LAYER_SCALE not in parts:  # ViTModel
        return False
    return True if REGISTERS in parts else None


def read_config(folder: str) -> dict:
    """Read config.json and preprocessor_config.json beside a file.

    Returns:
        A dict with those of ``width``, ``depth``, ``num_heads``, ``norm_eps``,
        ``mean`` and ``std`` (both in pixel values) that the files give. Empty
        without such files.

    Raises:
        CheckpointError: If the activation is not GELU.
    """
    cfg, processor = (
        load(osp.join(folder, name))
        if osp.isfile(osp.join(folder, name)) else {}
        for name in (CONFIG, PROCESSOR))
    told = dict(
        width=cfg.get('hidden_size'),
        depth=cfg.get('num_hidden_layers'),
        num_heads=cfg.get('num_attention_heads'),
        norm_eps=cfg.get('layer_norm_eps')) if cfg.get(
            'model_type') in MODEL_TYPES else {}
    if told and cfg.get('hidden_act', 'gelu') != 'gelu':
        raise CheckpointError(
            f'{folder}/{CONFIG} has the activation {cfg["hidden_act"]!r}, but '
            'the ViTs of mmdino that are inferred from a file have GELU. Give '
            '--config with the config of the network.')
    pixel = 1 / processor.get('rescale_factor', 1 / 255)
    for ours, theirs in (('mean', 'image_mean'), ('std', 'image_std')):
        if processor.get(theirs):
            told[ours] = [round(v * pixel, 6) for v in processor[theirs]]
    return told


def configs(network: Mapping) -> dict[str, dict]:
    """Return the contents of the two config files that transformers needs.

    Args:
        network: Network config, see :mod:`mmdino.weights.config`.
    """
    seen = network['preprocessing']
    low, high = seen['value_range']
    return {
        CONFIG:
        vit_config(network),
        PROCESSOR:
        dict(
            image_processor_type='ViTImageProcessor',
            do_resize=True,
            size=dict(height=seen['size'], width=seen['size']),
            resample=3,  # bicubic
            do_rescale=True,
            rescale_factor=1 / (high - low),
            do_normalize=True,
            image_mean=[value / (high - low) for value in seen['mean']],
            image_std=[value / (high - low) for value in seen['std']])
    }


def vit_config(network: Mapping) -> dict:
    """Return the arguments of the config class that ``model_type`` names.

    They are read from the network itself, so that values such as the number
    of heads and the epsilon of the layer norms (1e-6 in DINO, 1e-12 by default
    in transformers) are right.
    """
    vit = build_empty(network['backbone'])
    layer, projection = vit.layers[0], vit.patch_embed.projection
    state = vit.state_dict()
    if LAYER_SCALE in dinov2_parts(state):
        own = _dinov2_config(state)
    else:
        own = dict(
            model_type='vit',
            architectures=['ViTModel'],
            intermediate_size=layer.ffn.layers[0][0].out_features)
    return dict(
        **own,
        hidden_size=vit.embed_dims,
        num_hidden_layers=len(vit.layers),
        num_attention_heads=layer.attn.num_heads,
        image_size=vit.img_size[0],
        patch_size=projection.kernel_size[0],
        num_channels=projection.in_channels,
        qkv_bias=layer.attn.qkv.bias is not None,
        hidden_act='gelu',
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=layer.ln1.eps)


def _dinov2_config(state: StateDict) -> dict:
    """Return the config entries that only DINOv2's ViTs have."""
    parts = dinov2_parts(state)
    cfg = dict(
        mlp_ratio=_mlp_ratio(state),
        use_swiglu_ffn=SWIGLU in parts,
        layerscale_value=1.)
    if REGISTERS in parts:
        return dict(
            cfg,
            model_type='dinov2_with_registers',
            architectures=['Dinov2WithRegistersModel'],
            num_register_tokens=state['register_tokens'].shape[1])
    return dict(
        cfg,
        model_type='dinov2',
        architectures=['Dinov2Model'],
        use_mask_token=MASK_TOKEN in parts)


def _mlp_ratio(state: StateDict) -> int:
    """Return the integer ratio that gives the width of the FFN.

    Raises:
        CheckpointError: If there is no such integer; transformers needs one.
    """
    if SWIGLU in dinov2_parts(state):
        width, hidden = state['layers.0.ffn.w3.weight'].shape
        sizes = {ratio: swiglu_width(ratio * width) for ratio in range(1, 17)}
    else:
        hidden, width = state['layers.0.ffn.layers.0.0.weight'].shape
        sizes = {ratio: ratio * width for ratio in range(1, 17)}
    found = [ratio for ratio, size in sizes.items() if size == hidden]
    if not found:
        raise CheckpointError(
            f"transformers' DINOv2 has no place for an FFN of width {hidden} "
            f'in a ViT of width {width}: its mlp_ratio must be an integer. '
            'Convert to another format.')
    return found[0] if 4 not in found else 4
