# 125,000 iterations of AdamW as in DINOv2, and what moves beside the student:
# 100 epochs of 1,024 images a step on ImageNet-1k, 1,251 iterations each.
_base_ = ['adamw_100e.py', '../hooks/dino.py']

# The rate is that of 1,024 images; ScaleLRHook scales it by the square root.
auto_scale_lr = dict(_delete_=True, enable=False, base_batch_size=1024)

optim_wrapper = dict(
    type='PerNetworkClipOptimWrapper',
    constructor='LayerDecayConstructor',
    optimizer=dict(lr=4e-3),
    clip_grad=dict(max_norm=3.0),  # of the backbone, of each head
    # Each block has .9 times the rate of the next, the patch embedding .2 of
    # the other embeddings.
    paramwise_cfg=dict(layer_decay_rate=0.9, patch_embed_lr_mult=0.2))

default_hooks = dict(
    scale_lr=dict(type='ScaleLRHook', base_batch_size=1024, rule='sqrt'),
    teacher=dict(momentum=0.992),
    # Temperature by iteration, last layers at rate 0 for 1,250 iterations.
    centering=dict(
        teacher_temp=0.07,
        warmup_teacher_temp=0.04,
        warmup_epochs=30,  # 37,500 iterations
        by_epoch=False),
    freeze_last_layer=dict(num_epochs=1, by_rate=True))
