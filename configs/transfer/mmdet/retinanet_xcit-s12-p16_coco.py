# RetinaNet with FPN on an XCiT-S12/16, COCO.
_base_ = ['_base_/retinanet_xcit-s12-p16.py', '_base_/3x_detection.py']
