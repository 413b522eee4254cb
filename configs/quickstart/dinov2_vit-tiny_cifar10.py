# DINOv2 on 10,000 images of CIFAR-10, on two CPU cores: dino_vit-tiny_cifar10
# with masked patches and KoLeo.
_base_ = ['../_base_/models/dinov2_vit-tiny.py', '_base_/cifar10.py']

model = dict(
    backbone=dict(
        arch=dict(num_layers=3, num_heads=3), img_size=32, patch_size=4))
