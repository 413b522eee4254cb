# The same with the width of ViT-B.
_base_ = 'segmenter_vit-s16.py'

model = dict(
    backbone=dict(arch='deit-base'),
    decode_head=dict(
        in_channels=768, channels=768, embed_dims=768, num_heads=12))
