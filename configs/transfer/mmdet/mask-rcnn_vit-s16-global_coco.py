# Mask R-CNN on a ViT-S/16 whose blocks all attend to the whole image, COCO.
_base_ = ['_base_/mask-rcnn_vit-s16.py', '_base_/lsj_100e_instance.py']
