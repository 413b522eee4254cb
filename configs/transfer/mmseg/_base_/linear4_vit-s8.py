# The same with patches of 8 pixels: four times the tokens.
_base_ = 'linear4_vit-s16.py'

model = dict(
    data_preprocessor=dict(test_cfg=dict(size_divisor=8)),
    backbone=dict(patch_size=8))
