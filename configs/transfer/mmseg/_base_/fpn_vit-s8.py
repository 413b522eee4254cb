# The same with patches of 8 pixels: four times the tokens.
_base_ = 'fpn_vit-s16.py'

model = dict(
    backbone=dict(patch_size=8), neck=dict(rescales=(2, 1, 0.5, 0.25)))
