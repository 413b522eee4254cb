"""Hugging Face transformers' ViTModel, without its pooler.

The names are those in its files, which ``ViTModel.from_pretrained`` reads.
"""

from typing import Any, Mapping

from mmdino.weights.formats.ours import backbone_of, from_backbone
from mmdino.weights.infer import family
from mmdino.weights.keys import (CheckpointError, StateDict, flipped, join_qkv,
                                 rename, split_qkv)

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


def is_hf(checkpoint: Mapping[str, Any]) -> bool:
    """Whether names are transformers', with the task's ``vit.`` or without."""
    return any(f'{prefix}embeddings.cls_token' in checkpoint
               for prefix in ('', 'vit.'))


def from_hf(state: StateDict) -> StateDict:
    """Our state dict of a ViT's."""
    state = {key.removeprefix('vit.'): value for key, value in state.items()}
    state = rename(state, NAMES, "transformers' ViT")
    return from_backbone(join_qkv(state, r'layers\.\d+\.attn'))


def to_hf(state: StateDict) -> StateDict:
    backbone = backbone_of(state)
    if family(backbone) != 'vit':
        raise CheckpointError(
            f'transformers\' ViT has no place for a {family(backbone)}: '
            'convert to timm, mmpretrain or official.')
    backbone = split_qkv(backbone, r'layers\.\d+\.attn\.qkv')
    return rename(backbone, flipped(NAMES), "transformers' ViT")


def vit_config(cfg: dict) -> dict:
    """Arguments of ``transformers.ViTConfig``, config.json's content.

    The epsilon of the layer norms is DINO's 1e-6, not their 1e-12.

    Args:
        cfg: Config of our ViT, as :func:`.backbone_cfg` gives.
    """
    return dict(
        model_type='vit',
        architectures=['ViTModel'],
        hidden_size=cfg['arch']['embed_dims'],
        num_hidden_layers=cfg['arch']['num_layers'],
        num_attention_heads=cfg['arch']['num_heads'],
        intermediate_size=cfg['arch']['feedforward_channels'],
        image_size=cfg['img_size'],
        patch_size=cfg['patch_size'],
        num_channels=cfg['in_channels'],
        qkv_bias=cfg['qkv_bias'],
        hidden_act='gelu',
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-6)
