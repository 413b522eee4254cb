# 1% of ImageNet's labels, ResNet-50.
_base_ = ['../_base_/models/dino_resnet50.py', '_base_/low-shot.py']
