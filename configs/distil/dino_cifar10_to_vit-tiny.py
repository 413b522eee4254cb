# Distils the packaged ResNet of CIFAR-10 into a tiny ViT, in minutes on a CPU:
#   python tools/train.py configs/distil/dino_cifar10_to_vit-tiny.py
_base_ = ['../_base_/distil.py', '../_base_/datasets/cifar10_two_views.py']

model = dict(
    frozen=dict(checkpoint='dino_cifar10'),
    backbone=dict(
        type='VisionTransformer',
        arch=dict(
            embed_dims=96, num_layers=3, num_heads=3,
            feedforward_channels=192),
        img_size=32,
        patch_size=4,
        stem=dict(type='ConvStem'),
        drop_path_rate=0.))

train_cfg = dict(max_epochs=10, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=3e-3))  # 1.5e-3 at a batch of 128
param_scheduler = dict(warmup_epochs=1)
default_hooks = dict(teacher=dict(momentum=0.98), checkpoint=dict(interval=10))
