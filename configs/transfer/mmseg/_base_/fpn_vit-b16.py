# The same with the width of ViT-B.
_base_ = 'fpn_vit-s16.py'

model = dict(backbone=dict(arch='deit-base'), neck=dict(embed_dim=768))
