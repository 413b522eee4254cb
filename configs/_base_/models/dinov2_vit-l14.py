# DINOv2's ViT-L/14 with SwiGLU and separate heads for class tokens and
# patches. The targets of both are centred by Sinkhorn-Knopp.
_base_ = 'dinov2_vit.py'

model = dict(
    backbone=dict(
        patch_size=14,
        drop_path_rate=0.4,
        layer_cfgs=dict(ffn_type='swiglu_fused')),
    head=dict(out_dim=131072, bottleneck_channels=384),
    patch_head=dict(
        type='DINOHead',
        out_dim=131072,
        hidden_channels=2048,
        bottleneck_channels=256,
        num_layers=3,
        norm_last_layer=False),
    centering=dict(_delete_=True, type='SinkhornKnopp', num_iters=3),
    patch_centering=dict(_delete_=True, type='SinkhornKnopp', num_iters=3))
