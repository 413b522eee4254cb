# 1% of ImageNet's labels, ViT-S/16.
_base_ = ['../_base_/models/dino_vit.py', '_base_/low-shot.py']
