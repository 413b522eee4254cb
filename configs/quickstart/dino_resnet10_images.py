# The quickstart on a folder of images: tools/quickstart.py sets data_root.
# It has the network and settings of dino_resnet10_cifar10.py, for images of
# 64 px. In crops of 48 px objects are about as large as in these images.
# README.md in this folder explains how the settings were chosen and what was
# not tested.
_base_ = ['_base_/resnet10.py', '../_base_/datasets/loaders.py']

data_root = ''
model = dict(backbone=dict(strides=(2, 2, 2, 2), img_size=64))

train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        type='Images',
        with_label=False,
        pipeline=dict(
            before=[dict(type='LoadImage')],
            views=dict(
                global_1=dict(
                    crop=dict(size=48, scale=(0.15, 1.0)),
                    pipeline=_base_._view_pipeline)))))

_test_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='mmpretrain.ResizeEdge',
        scale=64,
        edge='short',
        backend='pillow',
        interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=64),
    dict(type='mmpretrain.PackInputs'),
]
_images = dict(dataset=dict(type='Images', pipeline=_test_pipeline))
val_dataloader = _images
val_cfg = dict(gallery_dataloader=_images)

# 60 epochs, whatever the number of images; --epochs changes it.
train_cfg = dict(max_epochs=60, val_interval=20)
optim_wrapper = dict(optimizer=dict(lr=1.2e-2))  # 3e-3 at a batch of 64
default_hooks = dict(logger=dict(interval=15), checkpoint=dict(interval=20))
