# 100 epochs of AdamW. An `end` that is not given is max_epochs.
_base_ = '../default_runtime.py'

train_cfg = dict(type='ResumableTrainLoop', max_epochs=100, val_interval=10)

# 5e-4 is the learning rate of 256 images: MMEngine scales it linearly with
# the images of all GPUs. It does not know of accumulative_counts: multiply lr
# by it when you set it.
auto_scale_lr = dict(enable=True, base_batch_size=256)

optim_wrapper = dict(
    type='PerParameterClipOptimWrapper',
    constructor='MergedGroupsConstructor',
    optimizer=dict(
        type='AdamW',
        lr=5e-4,
        betas=(0.9, 0.999),
        weight_decay=0.04,
        fused=True),
    clip_grad=dict(max_norm=3.0),
    # No decay of biases and of 1-D parameters; position embeddings and the
    # class token are decayed.
    paramwise_cfg=dict(bias_decay_mult=0., flat_decay_mult=0.))

param_scheduler = [
    dict(
        type='LinearLR',
        start_factor=1e-12,
        begin=0,
        end=10,
        by_epoch=True,
        convert_to_iter_based=True),
    dict(
        type='CosineAnnealingLR',
        eta_min=1e-6,
        begin=10,
        by_epoch=True,
        convert_to_iter_based=True),
    # 0.04 to 0.4; the undecayed group stays at 0.
    dict(
        type='CosineAnnealingParamScheduler',
        param_name='weight_decay',
        eta_min_ratio=10,
        by_epoch=True,
        convert_to_iter_based=True)
]

# Hooks stand in default_hooks, where a leaf can change one number of one.
default_hooks = dict(
    teacher=dict(type='TeacherEMAHook', momentum=0.996),
    centering=dict(
        type='CenteringHook',
        teacher_temp=0.04,
        warmup_teacher_temp=0.04,
        warmup_epochs=0),
    freeze_last_layer=dict(type='FreezeLastLayerHook', num_epochs=1))
