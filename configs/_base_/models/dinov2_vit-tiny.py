# DINOv2 with a very small ViT, of 24 heads.
_base_ = ['dinov2_vit.py', 'vit-tiny.py']

# See dino_vit-tiny.py.
_head = dict(out_dim=256, hidden_channels=256, bottleneck_channels=32)
model = dict(
    backbone=dict(
        _base_._vit_tiny,
        arch=dict(_base_._vit_tiny.arch, num_heads=24),
        # So few blocks have to do something from the start.
        layer_scale_init_value=0.,
        cls_token_std=0.02,
        drop_path_rate=0.),
    head=dict(_head, use_bn=True, norm_last_layer=True),
    # Of its own: a head of masked patches has no BatchNorm.
    patch_head=dict(_head, type='DINOHead'),
    predict_attention=True)
