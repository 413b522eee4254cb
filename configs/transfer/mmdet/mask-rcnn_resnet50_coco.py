# Mask R-CNN with FPN on a ResNet-50, COCO.
_base_ = ['_base_/mask-rcnn_resnet50.py', '_base_/2x_instance.py']
