# Revisited Oxford with ViT-S/8, images of 224 px and one scale.
_base_ = 'retrieval-roxford_vit-s16.py'

model = dict(backbone=dict(patch_size=8))
