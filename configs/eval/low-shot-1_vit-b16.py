# 1% of ImageNet's labels, ViT-B/16.
_base_ = 'low-shot-1_vit-s16.py'

model = dict(backbone=dict(arch='deit-base'))
