# 1% of ImageNet's labels, ViT-B/8.
_base_ = 'low-shot-1_vit-b16.py'

model = dict(backbone=dict(patch_size=8))
