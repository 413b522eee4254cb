# DINO with a ResNet-50, without stochastic depth.
_base_ = 'dino_vit.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpretrain.ResNet',
        depth=50,
        zero_init_residual=False),
    neck=dict(type='mmpretrain.GlobalAveragePooling'))
