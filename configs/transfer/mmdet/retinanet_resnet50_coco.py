# RetinaNet with FPN on a ResNet-50, COCO, 24 epochs of SGD: 2x.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    'mmdet::_base_/default_runtime.py'
]
custom_imports = dict(
    imports=[
        'mmdino.models', 'mmdino.engine', 'mmdino.transfer.classes',
        'mmdino.transfer.detection'
    ],
    allow_failed_imports=False)

# The teacher's weights, all or an error. All stages are trained, their
# BatchNorm too, by images of all GPUs: the statistics of pretraining are those
# of its crops.
model = dict(
    backbone=dict(
        _delete_=True,
        type='mmdino.ResNet',
        depth=50,
        out_indices=(0, 1, 2, 3),
        norm_cfg=dict(type='SyncBN', requires_grad=True),
        norm_eval=False,
        init_cfg=dict(
            type='Pretrained', checkpoint=None, prefix='teacher.backbone.')))

auto_scale_lr = dict(enable=True)

custom_hooks = [dict(type='mmdino.NumClassesHook')]
randomness = dict(seed=0)
