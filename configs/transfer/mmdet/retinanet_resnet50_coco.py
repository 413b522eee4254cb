# RetinaNet with FPN on a ResNet-50, COCO.
_base_ = ['_base_/retinanet_resnet50.py', '_base_/2x_detection.py']
