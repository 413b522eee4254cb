"""Hugging Face transformers' ViTModel, without its pooler.

The names are those in its files, which ``ViTModel.from_pretrained`` reads;
config.json and preprocessor_config.json beside a file tell its network.
"""
import os.path as osp
from typing import Any, Dict, Mapping

from mmengine.fileio import load

from mmdino.weights.infer import build_empty
from mmdino.weights.keys import StateDict, flipped, join_qkv, rename, split_qkv

# theirs, ours with query, key and value apart
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
FILE, CONFIG, PROCESSOR = ('model.safetensors', 'config.json',
                           'preprocessor_config.json')


def is_hf(state: Mapping[str, Any]) -> bool:
    """Whether names are transformers', with the task's ``vit.`` or without."""
    return any(f'{prefix}embeddings.cls_token' in state
               for prefix in ('', 'vit.'))


def from_hf(state: StateDict) -> StateDict:
    """Our names for a ViT's."""
    state = {key.removeprefix('vit.'): value for key, value in state.items()}
    state = rename(state, NAMES, "transformers' ViT")
    return join_qkv(state, r'layers\.\d+\.attn')


def to_hf(backbone: StateDict) -> StateDict:
    backbone = split_qkv(backbone, r'layers\.\d+\.attn\.qkv')
    return rename(backbone, flipped(NAMES), "transformers' ViT")


def read_config(folder: str) -> dict:
    """What config.json and preprocessor_config.json beside a file tell.

    Returns:
        dict: Of ``width``, ``depth``, ``num_heads``, ``norm_eps``, ``mean``
        and ``std`` in pixel values, those that are told.
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
            'model_type') == 'vit' else {}
    pixel = 1 / processor.get('rescale_factor', 1 / 255)
    for ours, theirs in (('mean', 'image_mean'), ('std', 'image_std')):
        if processor.get(theirs):
            told[ours] = [round(v * pixel, 6) for v in processor[theirs]]
    return told


def configs(network: Mapping) -> Dict[str, dict]:
    """Contents of the two files that transformers needs beside a ViT's.

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
    """Arguments of ``transformers.ViTConfig``, config.json's content.

    Read off the network that is built, so that heads and the epsilon of the
    layer norms, DINO's 1e-6 and not their 1e-12, are its own.
    """
    vit = build_empty(network['backbone'])
    layer, projection = vit.layers[0], vit.patch_embed.projection
    return dict(
        model_type='vit',
        architectures=['ViTModel'],
        hidden_size=vit.embed_dims,
        num_hidden_layers=len(vit.layers),
        num_attention_heads=layer.attn.num_heads,
        intermediate_size=layer.ffn.layers[0][0].out_features,
        image_size=vit.img_size[0],
        patch_size=projection.kernel_size[0],
        num_channels=projection.in_channels,
        qkv_bias=layer.attn.qkv.bias is not None,
        hidden_act='gelu',
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=layer.ln1.eps)
