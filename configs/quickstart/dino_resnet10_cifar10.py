# CIFAR-10 on two CPU cores: a ResNet of four blocks on views of 24 px.
#   python tools/train.py configs/quickstart/dino_resnet10_cifar10.py
# README.md in this folder tells how the numbers were found, and what 30 and
# 150 minutes give.
_base_ = [
    '../_base_/models/dino_resnet50.py',
    '../_base_/datasets/cifar10_multi_crop.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/hooks/dino.py',
]

model = dict(
    data_preprocessor=dict(channels_last=True),
    backbone=dict(
        type='SmallResNet', depth=10, stem_channels=32, base_channels=32),
    head=dict(
        out_dim=512, hidden_channels=512, bottleneck_channels=64, use_bn=True),
    # The centre leaves a small batch near the uniform output for long, at
    # sharper temperatures a few prototypes take all.
    centering=dict(_delete_=True, type='SinkhornKnopp'))

# A crop shows its object enlarged: at 24 px it is as large as in the picture
# of 32 px, and a step takes half the time.
_crop = dict(size=24, scale=(0.15, 1.0))
_color_pipeline = [
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
]
train_dataloader = dict(
    batch_size=128,
    num_workers=1,
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=_crop, pipeline=_color_pipeline),
                global_2=dict(crop=_crop, pipeline=_color_pipeline),
                # Two views alone learn more in the same time.
                local=dict(num_views=0)))))
val_dataloader = dict(num_workers=1)
val_cfg = dict(gallery_dataloader=dict(num_workers=1))

train_cfg = dict(max_epochs=20, val_interval=5)
optim_wrapper = dict(optimizer=dict(lr=8e-3))  # 4e-3 at a batch of 128
param_scheduler = dict(warmup_epochs=1, end_weight_decay=None)
default_hooks = dict(
    # 390 steps an epoch and few epochs: the teacher must follow fast.
    teacher=dict(momentum=0.97),
    centering=dict(teacher_temp=0.025, warmup_teacher_temp=0.025),
    checkpoint=dict(interval=1, max_keep_ckpts=1))
