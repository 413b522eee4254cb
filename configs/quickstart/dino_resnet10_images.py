# The quickstart on a folder of images: tools/quickstart.py sets data_root.
# The network and the setting of dino_resnet10_cifar10.py on pictures of 64 px,
# of which a crop of 48 px shows the objects as large as they are. README.md in
# this folder tells how the numbers were found, and what they have not shown.
_base_ = [
    '../_base_/models/dino_resnet50.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/hooks/dino.py',
]

data_root = ''
model = dict(
    data_preprocessor=dict(channels_last=True),
    backbone=dict(
        type='SmallResNet',
        depth=10,
        stem_channels=32,
        base_channels=32,
        strides=(2, 2, 2, 2),
        img_size=64),
    head=dict(
        out_dim=512, hidden_channels=512, bottleneck_channels=64, use_bn=True),
    centering=dict(_delete_=True, type='SinkhornKnopp'))

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='Images',
        with_label=False,
        pipeline=dict(
            type='MultiCrop',
            before=[dict(type='LoadImage')],
            views=dict(
                global_1=dict(
                    num_views=2,
                    crop=dict(
                        type='RandomResizedCrop', size=48, scale=(0.15, 1.0)),
                    pipeline=[
                        dict(type='HorizontalFlip', prob=0.5),
                        dict(
                            type='ColorJitter',
                            brightness=0.6,
                            contrast=0.6,
                            saturation=0.6,
                            hue=0.15,
                            prob=0.8),
                        dict(type='RandomGrayscale', prob=0.3),
                        dict(type='Solarize', prob=0.1, threshold=128),
                    ])),
            after=[dict(type='mmpretrain.PackInputs')])))

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
_images = dict(
    batch_size=250,
    num_workers=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='Images', pipeline=_test_pipeline))

val_dataloader = _images
val_cfg = dict(type='GalleryValLoop', gallery_dataloader=_images)
val_evaluator = dict(type='KNNAccuracy', k=(20, ))

# 60 passes, however many images there are: --epochs chooses.
train_cfg = dict(max_epochs=60, val_interval=20)
optim_wrapper = dict(optimizer=dict(lr=1.2e-2))  # 3e-3 at a batch of 64
param_scheduler = dict(warmup_epochs=1, end_weight_decay=None)
default_hooks = dict(
    teacher=dict(momentum=0.97),
    centering=dict(teacher_temp=0.025, warmup_teacher_temp=0.025),
    logger=dict(interval=15),
    checkpoint=dict(interval=20, max_keep_ckpts=1))
