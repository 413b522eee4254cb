# About 125,000 iterations of AdamW as in DINOv2, and the hooks of the teacher,
# the centre and the last layer: 100 epochs of ImageNet-1k with 1,024 images a
# step, 1,251 iterations each.
_base_ = ['adamw_100e.py', '../hooks/dino.py']

# The learning rate is that of 1,024 images a step; ScaleLRHook scales it with
# the square root of the batch size.
auto_scale_lr = dict(_delete_=True, enable=False, base_batch_size=1024)

optim_wrapper = dict(
    type='PerNetworkClipOptimWrapper',
    constructor='LayerDecayConstructor',
    optimizer=dict(lr=4e-3),
    clip_grad=dict(max_norm=3.0),  # for the backbone and each head separately
    # Each block has .9 times the learning rate of the next one, the patch
    # embedding .2 times that of the other embeddings.
    paramwise_cfg=dict(layer_decay_rate=0.9, patch_embed_lr_mult=0.2))

default_hooks = dict(
    scale_lr=dict(type='ScaleLRHook', base_batch_size=1024, rule='sqrt'),
    teacher=dict(momentum=0.992),
    # The temperature changes every iteration. The last layers have a learning
    # rate of 0 for 1,250 iterations.
    centering=dict(
        teacher_temp=0.07,
        warmup_teacher_temp=0.04,
        warmup_epochs=30,  # 37,500 iterations
        by_epoch=False),
    freeze_last_layer=dict(num_epochs=1, by_rate=True))
