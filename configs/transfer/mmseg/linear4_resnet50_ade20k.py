# BatchNorm and a linear layer on four layers of a frozen ResNet-50, ADE20K.
_base_ = [
    '_base_/linear4_resnet50.py', '_base_/ade20k.py', '_base_/linear_40k.py'
]
