# DINOv2 in minutes on two CPU cores: the quickstart's network, pictures and
# optimisation, with masked patches and KoLeo.
_base_ = [
    '../_base_/models/dinov2_vit.py',
    '../_base_/datasets/shape_scenes.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/hooks/dino.py',
]

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            embed_dims=96,
            num_layers=2,
            num_heads=24,
            feedforward_channels=192),
        img_size=48,
        patch_size=8,
        stem=dict(type='ConvStem'),
        # Two blocks have to do something from the start.
        layer_scale_init_value=0.,
        cls_token_std=0.02,
        drop_path_rate=0.),
    head=dict(
        out_dim=256,
        hidden_channels=256,
        bottleneck_channels=32,
        use_bn=True,
        norm_last_layer=True),
    # Of its own: a head of masked patches has no BatchNorm.
    patch_head=dict(
        type='DINOHead',
        out_dim=256,
        hidden_channels=256,
        bottleneck_channels=32),
    predict_attention=True)

train_cfg = dict(max_epochs=60, val_interval=8)
optim_wrapper = dict(optimizer=dict(lr=3e-3, weight_decay=1.))
param_scheduler = dict(warmup_epochs=1, end_weight_decay=10.)
default_hooks = dict(
    teacher=dict(momentum=0.98),
    centering=dict(teacher_temp=0.03, warmup_teacher_temp=0.03),
    logger=dict(interval=15),
    checkpoint=dict(interval=8, max_keep_ckpts=1))
