# DAVIS 2017 by label propagation, ViT-B/16.
_base_ = 'davis_vit-s16.py'

model = dict(backbone=dict(arch='deit-base'))
