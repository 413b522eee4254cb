# RetinaNet with FPN on a ResNet-50.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', 'resnet50.py']

model = dict(backbone=_base_.dino_backbone)
