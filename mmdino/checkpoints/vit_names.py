"""Names of a ViT's tensors: the authors' and timm's, and ours."""
VIT_NAMES = (
    ('cls_token', 'cls_token'),
    ('pos_embed', 'pos_embed'),
    ('patch_embed.proj.{p}', 'patch_embed.projection.{p}'),
    ('blocks.{n}.norm1.{p}', 'layers.{n}.ln1.{p}'),
    ('blocks.{n}.attn.{p}', 'layers.{n}.attn.{p}'),
    ('blocks.{n}.norm2.{p}', 'layers.{n}.ln2.{p}'),
    ('blocks.{n}.mlp.fc1.{p}', 'layers.{n}.ffn.layers.0.0.{p}'),
    ('blocks.{n}.mlp.fc2.{p}', 'layers.{n}.ffn.layers.1.{p}'),
    ('norm.{p}', 'ln1.{p}'),
)
