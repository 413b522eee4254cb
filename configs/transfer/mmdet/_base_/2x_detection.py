# COCO with boxes, 24 epochs of SGD: 2x.
_base_ = [
    'mmdet::_base_/datasets/coco_detection.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    'mmdet::_base_/default_runtime.py'
]

auto_scale_lr = dict(enable=True)
randomness = dict(seed=0)
