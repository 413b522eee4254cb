# Mask R-CNN on a ViT-S/8 whose blocks all attend to the whole image, COCO.
_base_ = 'mask-rcnn_vit-s16-global_coco.py'

model = dict(backbone=dict(patch_size=8), neck=dict(scales=(2, 1, 0.5, 0.25)))
