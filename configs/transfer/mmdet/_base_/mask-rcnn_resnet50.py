# Mask R-CNN with FPN on a ResNet-50.
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', 'resnet50.py']

model = dict(backbone=_base_.dino_backbone)
