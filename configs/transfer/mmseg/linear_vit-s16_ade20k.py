# Linear layer on a frozen ViT-S/16, ADE20K.
_base_ = [
    '_base_/linear_vit-s16.py', '_base_/ade20k.py', '_base_/linear_40k.py'
]
