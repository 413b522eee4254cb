# 125,000 iterations of AdamW as in DINOv2: 100 epochs of 1,024 images a step
# on ImageNet-1k, 1,251 iterations each.
_base_ = 'adamw_100e.py'

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
