# To fine-tune a ViT, as ViTDet does: AdamW, each block with a learning rate
# below the next one's. The rate is that of 64 images, whatever the number of
# GPUs and images on each.
dino_optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    constructor='mmdino.BackboneLayerDecayConstructor',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.1),
    paramwise_cfg=dict(
        layer_decay_rate=0.7,
        bias_decay_mult=0.,
        flat_decay_mult=0.,
        custom_keys={
            '.cls_token': dict(decay_mult=0.),
            '.pos_embed': dict(decay_mult=0.)
        }))
