# DAVIS 2017 by label propagation, ViT-B/8.
_base_ = 'davis_vit-b16.py'

model = dict(backbone=dict(patch_size=8))
