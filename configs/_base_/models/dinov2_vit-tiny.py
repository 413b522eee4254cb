# The network of dino_vit-tiny.py, with masked patches and KoLeo.
_base_ = 'dino_vit-tiny.py'

model = dict(
    type='DINOv2',
    backbone=dict(with_mask_token=True),
    masking=dict(type='BlockMasking'),
    patch_centering=dict(type='MeanCentering', momentum=0.9),
    patch_loss=dict(type='IBOTLoss', student_temp=0.1),
    # A separate head, because a head of masked patches cannot have BatchNorm.
    patch_head=dict(
        type='DINOHead',
        out_dim=256,
        hidden_channels=256,
        bottleneck_channels=32),
    koleo=dict(type='KoLeoLoss'),
    koleo_weight=0.1)
