# Semantic FPN on four blocks of the ViT, rescaled to strides 4 to 32.
_base_ = 'vit-s16.py'

model = dict(
    data_preprocessor=dict(test_cfg=dict(size_divisor=32)),
    backbone=dict(out_indices=(2, 5, 8, 11), drop_path_rate=0.1),
    neck=[
        dict(
            type='Feature2Pyramid',
            embed_dim=384,
            norm_cfg=dict(type='SyncBN'),
            rescales=[4, 2, 1, 0.5]),
        dict(type='FPN', in_channels=[384] * 4, out_channels=256, num_outs=4)
    ],
    decode_head=dict(
        type='FPNHead',
        in_channels=[256] * 4,
        in_index=[0, 1, 2, 3],
        feature_strides=[4, 8, 16, 32],
        channels=128,
        dropout_ratio=0.1,
        num_classes=150,
        norm_cfg=dict(type='SyncBN'),
        align_corners=False,
        loss_decode=dict(type='CrossEntropyLoss')))
