# BatchNorm and one linear layer on the frozen maps of all four stages.
_base_ = 'resnet50.py'

model = dict(
    backbone=dict(frozen_stages=4, norm_eval=True),
    decode_head=dict(
        type='mmdino.LinearSegHead',
        in_channels=[256, 512, 1024, 2048],
        in_index=[0, 1, 2, 3],
        norm_cfg=dict(type='SyncBN'),
        num_classes=150,
        loss_decode=dict(type='CrossEntropyLoss')))
