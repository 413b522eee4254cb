# Mask R-CNN with FPN on a ResNet-50, COCO, 24 epochs of SGD (the 2x schedule).
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::_base_/datasets/coco_instance.py',
    'mmdet::_base_/schedules/schedule_2x.py',
    'mmdet::_base_/default_runtime.py', '_base_/dino.py'
]

model = dict(backbone=_base_._resnet50)
auto_scale_lr = dict(enable=True)
