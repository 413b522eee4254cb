# BatchNorm and one linear layer on the frozen tokens of the last four blocks.
_base_ = 'vit-s16.py'

model = dict(
    backbone=dict(frozen_stages=12, out_indices=(8, 9, 10, 11)),
    decode_head=dict(
        type='mmdino.LinearSegHead',
        in_channels=[384] * 4,
        in_index=[0, 1, 2, 3],
        norm_cfg=dict(type='SyncBN'),
        num_classes=150,
        loss_decode=dict(type='CrossEntropyLoss')))

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4))
train_cfg = dict(max_iters=40000, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))
