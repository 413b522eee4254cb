# RetinaNet on a ViT-S/16 whose blocks all attend to the whole image, COCO.
_base_ = ['_base_/retinanet_vit-s16.py', '_base_/lsj_100e_detection.py']
