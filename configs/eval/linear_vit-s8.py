# Linear probe of ViT-S/8. Published: linear 79.7.
_base_ = 'linear_vit-s16.py'

model = dict(backbone=dict(patch_size=8))
