# BatchNorm and one linear layer on the frozen tokens of the last four blocks.
_base_ = 'linear_vit-s16.py'

model = dict(
    backbone=dict(out_indices=(8, 9, 10, 11)),
    decode_head=dict(
        _delete_=True,
        type='mmdino.LinearSegHead',
        in_channels=[384] * 4,
        in_index=[0, 1, 2, 3],
        norm_cfg=dict(type='SyncBN'),
        num_classes=150,
        loss_decode=dict(type='CrossEntropyLoss')))
