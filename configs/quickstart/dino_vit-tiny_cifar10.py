# The quickstart's network and optimisation on real images: 10,000 images of
# CIFAR-10, 32 px with patches of 4 px, within half an hour on two CPU cores:
#   python tools/quickstart.py \
#       --config configs/quickstart/dino_vit-tiny_cifar10.py
_base_ = ['../_base_/models/dino_vit-tiny.py', '_base_/cifar10.py']

model = dict(
    backbone=dict(
        arch=dict(num_layers=3, num_heads=3), img_size=32, patch_size=4))
