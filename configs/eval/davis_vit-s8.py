# DAVIS 2017 by label propagation, ViT-S/8.
_base_ = 'davis_vit-s16.py'

model = dict(backbone=dict(patch_size=8))
