# 100 epochs of AdamW.
train_cfg = dict(type='ResumableTrainLoop', max_epochs=100, val_interval=10)

# 5e-4 is the learning rate for 256 images a step. MMEngine scales it linearly
# with the batch size of all GPUs together, but ignores accumulative_counts: if
# you set that, multiply lr by it.
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
    # No weight decay on biases and other 1-D parameters. Position embeddings
    # and the class token are decayed.
    paramwise_cfg=dict(bias_decay_mult=0., flat_decay_mult=0.))

param_scheduler = dict(
    type='WarmupCosine',
    warmup_epochs=10,
    end_lr=1e-6,
    end_weight_decay=0.4,  # parameters without weight decay stay at 0
    convert_to_iter_based=True)
