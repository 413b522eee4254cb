# Linear layer on the last map of a frozen ResNet-50, ADE20K. The last two
# stages are dilated, so that the map has stride 8; this does not change the
# weights.
_base_ = ['_base_/linear_vit-s16.py', 'mmseg::_base_/datasets/ade20k.py']

model = dict(
    data_preprocessor=dict(test_cfg=dict(size_divisor=32)),
    backbone=dict(
        _delete_=True,
        type='mmdino.ResNet',
        depth=50,
        out_indices=(3, ),
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        frozen_stages=4,
        norm_eval=True,
        init_cfg=dict(
            type='Pretrained', checkpoint=None, prefix='teacher.backbone.')),
    decode_head=dict(in_channels=2048, channels=2048))
