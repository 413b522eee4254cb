# DINOv2 with the network of dino_vit-tiny.py.
_base_ = 'dinov2_vit.py'

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
        # So few blocks have to do something from the start.
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
