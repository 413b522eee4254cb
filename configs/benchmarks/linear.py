# Linear classification on frozen features, with the authors' settings: 8 GPUs
# x 128 images, 100 epochs of SGD with a cosine schedule by epochs. To run it:
#   python tools/train.py configs/benchmarks/linear.py \
#       --checkpoint CHECKPOINT
# For other data, change model.num_classes, the data sets and
# train_cfg.max_epochs.
_base_ = '../_base_/default_runtime.py'

model = dict(
    type='LinearProbe',
    num_classes=1000,
    # The authors use 1e-3 for ViTs and 0.3 for ResNet-50. Each learning rate
    # adds a linear layer.
    learning_rates=[1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.],
    checkpoint=None)

data_root = 'data/imagenet'
train_dataloader = dict(
    batch_size=128,
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='Images',
        subset='train',
        with_label=True,
        pipeline=[
            dict(type='LoadImage', exif_orientation=False),
            dict(
                type='mmpretrain.RandomResizedCrop',
                scale=None,  # the size stored in the checkpoint
                backend='pillow',
                interpolation='bilinear'),
            dict(type='HorizontalFlip', prob=0.5),
            dict(type='mmpretrain.PackInputs'),
        ]))

val_dataloader = dict(
    batch_size=128,
    num_workers=10,
    persistent_workers=True,
    pin_memory=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(
        type='Images',
        subset='val',
        with_label=True,
        pipeline=[
            dict(type='LoadImage', exif_orientation=False),
            dict(type='CenterView', size=None),
            dict(type='mmpretrain.PackInputs'),
        ]))
val_cfg = dict()
val_evaluator = dict(type='LinearProbeAccuracy')

# The learning rates are set by model.learning_rates.
auto_scale_lr = dict(enable=True, base_batch_size=256)
optim_wrapper = dict(
    type='OptimWrapper',
    constructor='LinearProbeConstructor',
    optimizer=dict(type='SGD', momentum=0.9, weight_decay=0.))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=0., by_epoch=True)]
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=1)

default_hooks = dict(
    _delete_=True,
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    checkpoint=dict(
        type='CheckpointHook',
        interval=1,
        max_keep_ckpts=1,
        save_best='linear/best_top1',
        rule='greater'),
    sampler_seed=dict(type='DistSamplerSeedHook'))
