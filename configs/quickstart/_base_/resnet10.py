# A ResNet of four blocks and its training on two CPU cores. README.md in
# quickstart/ explains how the settings were chosen.
_base_ = [
    '../../_base_/models/dino_resnet50.py',
    '../../_base_/schedules/adamw_100e.py',
    '../../_base_/hooks/dino.py',
]

model = dict(
    data_preprocessor=dict(channels_last=True),
    backbone=dict(
        type='SmallResNet', depth=10, stem_channels=32, base_channels=32),
    head=dict(
        out_dim=512, hidden_channels=512, bottleneck_channels=64, use_bn=True),
    # Not a centre: with small batches, training would stay near the uniform
    # output for long, or at lower temperatures a few prototypes would get all
    # images.
    centering=dict(_delete_=True, type='SinkhornKnopp'))

# The augmentation that all views of a config share.
_view_pipeline = [
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

param_scheduler = dict(warmup_epochs=1, end_weight_decay=None)
default_hooks = dict(
    # With few steps, the teacher must follow fast.
    teacher=dict(momentum=0.97),
    centering=dict(teacher_temp=0.025, warmup_teacher_temp=0.025),
    checkpoint=dict(max_keep_ckpts=1))
