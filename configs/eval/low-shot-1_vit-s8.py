# 1% of ImageNet's labels, ViT-S/8.
_base_ = 'low-shot-1_vit-s16.py'

model = dict(backbone=dict(patch_size=8))
