# One linear layer on the frozen last map, at an 8th of the image's sides:
# the last two stages are dilated, which changes no weight.
_base_ = 'resnet50.py'

model = dict(
    backbone=dict(
        frozen_stages=4,
        norm_eval=True,
        out_indices=(3, ),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4)),
    decode_head=dict(
        type='FCNHead',
        in_channels=2048,
        channels=2048,
        in_index=0,
        num_convs=0,
        kernel_size=1,
        concat_input=False,
        dropout_ratio=0,
        num_classes=150,
        loss_decode=dict(type='CrossEntropyLoss')))
