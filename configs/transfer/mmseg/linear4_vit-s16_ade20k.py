# BatchNorm and a linear layer on four layers of a frozen ViT-S/16, ADE20K.
_base_ = [
    '_base_/linear4_vit-s16.py', '_base_/ade20k.py', '_base_/linear_40k.py'
]
