# Mask R-CNN on a ViT-B/16, COCO: most attend within windows.
_base_ = 'mask-rcnn_vit-s16_coco.py'

model = dict(backbone=dict(arch='deit-base'), neck=dict(embed_dim=768))
