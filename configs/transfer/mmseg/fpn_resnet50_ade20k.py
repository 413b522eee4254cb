# Semantic FPN on a fine-tuned ResNet-50, ADE20K.
_base_ = ['_base_/fpn_resnet50.py', '_base_/ade20k.py', '_base_/sgd_160k.py']
