# Mask R-CNN on an XCiT-S12/16, COCO: maps of four blocks, rescaled to strides
# 4 to 32, then FPN; 36 epochs at several sizes of image,
# AdamW, as the authors of XCiT train detectors.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::common/ms_3x_coco-instance.py'
]
custom_imports = dict(
    imports=[
        'mmdino.models', 'mmdino.engine', 'mmdino.transfer.classes',
        'mmdino.transfer.detection'
    ],
    allow_failed_imports=False)

model = dict(
    # The teacher's weights, all or an error.
    backbone=dict(
        _delete_=True,
        type='mmdino.TimmFeatureMaps',
        model_name='xcit_small_12_p16_224',
        out_indices=(3, 5, 7, 11),
        drop_path_rate=0.1,
        init_cfg=dict(
            type='Pretrained', checkpoint=None, prefix='teacher.backbone.')),
    neck=[
        dict(type='mmdino.RescaledMaps', embed_dim=384, scales=(4, 2, 1, 0.5)),
        dict(
            type='FPN',
            in_channels=[96, 192, 384, 384],
            out_channels=256,
            num_outs=5)
    ])

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.))
auto_scale_lr = dict(enable=True)
# Class attention serves no map.
find_unused_parameters = True

# mmdet's scores the boxes alone.
val_evaluator = dict(metric=['bbox', 'segm'])
test_evaluator = dict(metric=['bbox', 'segm'])

custom_hooks = [dict(type='mmdino.NumClassesHook')]
randomness = dict(seed=0)
