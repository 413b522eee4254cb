# CIFAR-10 on two CPU cores: a ResNet of four blocks on views of 24 px.
#   python tools/train.py configs/quickstart/dino_resnet10_cifar10.py
# README.md in this folder explains how the settings were chosen.
_base_ = ['_base_/resnet10.py', '../_base_/datasets/cifar10_multi_crop.py']

# Crops enlarge objects: in a crop of 24 px they are about as large as in the
# image of 32 px. A step also takes half the time.
_view = dict(
    crop=dict(size=24, scale=(0.15, 1.0)), pipeline=_base_._view_pipeline)
train_dataloader = dict(
    batch_size=256,
    num_workers=1,
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=_view,
                global_2=_view,
                # Without local views, more is learnt in the same time.
                local=dict(num_views=0)))))
val_dataloader = dict(num_workers=1)
val_cfg = dict(gallery_dataloader=dict(num_workers=1))

train_cfg = dict(max_epochs=40, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=8e-3))
