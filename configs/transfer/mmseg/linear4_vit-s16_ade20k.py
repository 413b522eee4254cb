# BatchNorm and a linear layer on four blocks of a frozen ViT-S/16, ADE20K.
_base_ = ['_base_/linear4_vit-s16.py', 'mmseg::_base_/datasets/ade20k.py']
