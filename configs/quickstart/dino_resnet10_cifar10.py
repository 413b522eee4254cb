# CIFAR-10 on two CPU cores: a ResNet of four blocks on views of 24 px.
#   python tools/train.py configs/quickstart/dino_resnet10_cifar10.py
# README.md in this folder tells how the numbers were found.
_base_ = ['_base_/resnet10.py', '../_base_/datasets/cifar10_multi_crop.py']

# A crop shows its object enlarged: at 24 px it is as large as in the picture
# of 32 px, and a step takes half the time.
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
                # Two views alone learn more in the same time.
                local=dict(num_views=0)))))
val_dataloader = dict(num_workers=1)
val_cfg = dict(gallery_dataloader=dict(num_workers=1))

train_cfg = dict(max_epochs=40, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=8e-3))
