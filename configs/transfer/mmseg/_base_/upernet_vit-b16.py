# The same with the width of ViT-B.
_base_ = 'upernet_vit-s16.py'

model = dict(
    backbone=dict(arch='deit-base'),
    neck=dict(embed_dim=768),
    decode_head=dict(in_channels=[768] * 4),
    auxiliary_head=dict(in_channels=768))
