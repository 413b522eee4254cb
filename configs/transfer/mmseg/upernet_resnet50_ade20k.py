# UPerNet on the four stages of a fine-tuned ResNet-50, ADE20K, with mmseg's
# SGD.
_base_ = ['_base_/upernet_vit-s16.py', 'mmseg::_base_/datasets/ade20k.py']

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmdino.ResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained', checkpoint=None, prefix='teacher.backbone.')),
    neck=None,
    decode_head=dict(in_channels=[256, 512, 1024, 2048]),
    auxiliary_head=dict(in_channels=1024))

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005))
param_scheduler = [
    dict(type='PolyLR', power=0.9, eta_min=1e-4, by_epoch=False)
]
