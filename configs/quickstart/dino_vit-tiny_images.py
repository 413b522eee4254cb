# The quickstart on a folder of images: tools/quickstart.py sets data_root.
# The model is that of ShapeScenes on 64 px; photographs share more between
# their views than drawings do, so that the paper's augmentation and two local
# crops fit.
_base_ = [
    '../_base_/models/dino_vit.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/hooks/dino.py',
]

data_root = ''
model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=96,
            num_layers=2,
            num_heads=24,
            feedforward_channels=192),
        img_size=64,
        patch_size=8,
        stem=dict(type='ConvStem'),
        drop_path_rate=0.),
    head=dict(
        out_dim=256, hidden_channels=256, bottleneck_channels=32, use_bn=True),
    predict_attention=True)

_color_pipeline = [
    dict(type='HorizontalFlip', prob=0.5),
    dict(
        type='ColorJitter',
        brightness=0.4,
        contrast=0.4,
        saturation=0.2,
        hue=0.1,
        prob=0.8),
    dict(type='RandomGrayscale', prob=0.2),
]

train_dataloader = dict(
    batch_size=128,
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
                        type='RandomResizedCrop', size=64, scale=(0.4, 1.0)),
                    pipeline=_color_pipeline),
                local=dict(
                    num_views=2,
                    crop=dict(
                        type='RandomResizedCrop', size=32, scale=(0.1, 0.4)),
                    pipeline=_color_pipeline)),
            after=[dict(type='mmpretrain.PackInputs')])))

_test_pipeline = [
    dict(type='LoadImage'),
    dict(
        type='mmpretrain.ResizeEdge',
        scale=72,
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

# Twenty passes, however many images there are: --epochs chooses.
train_cfg = dict(max_epochs=20, val_interval=8)
optim_wrapper = dict(optimizer=dict(lr=3e-3, weight_decay=1.))
param_scheduler = dict(warmup_epochs=1, end_weight_decay=10.)
default_hooks = dict(
    teacher=dict(momentum=0.98),
    centering=dict(teacher_temp=0.03, warmup_teacher_temp=0.03),
    logger=dict(interval=15),
    checkpoint=dict(interval=8, max_keep_ckpts=1))
