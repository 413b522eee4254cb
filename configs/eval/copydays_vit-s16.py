# Copydays with ViT-S/16.
_base_ = 'copydays_vit-b8.py'

model = dict(backbone=dict(arch='deit-small', patch_size=16))
