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
