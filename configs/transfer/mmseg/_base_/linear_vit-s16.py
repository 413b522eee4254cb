# One linear layer on the frozen patch tokens of the last block.
_base_ = 'vit-s16.py'

model = dict(
    backbone=dict(frozen_stages=12),
    decode_head=dict(
        type='FCNHead',
        in_channels=384,
        channels=384,
        in_index=0,
        num_convs=0,
        kernel_size=1,
        concat_input=False,
        dropout_ratio=0,
        num_classes=150,
        loss_decode=dict(type='CrossEntropyLoss')))

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=1e-4))
train_cfg = dict(max_iters=40000, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))
