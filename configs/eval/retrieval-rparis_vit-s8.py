# Revisited Paris with ViT-S/8, images of 224 px and one scale.
_base_ = 'retrieval-rparis_vit-s16.py'

model = dict(backbone=dict(patch_size=8))
