# Linear probe of ViT-B/8. Published: linear 80.1.
_base_ = 'linear_vit-b16.py'

model = dict(backbone=dict(patch_size=8))
