# RetinaNet on a ViT-S/8, COCO: windows of as many pixels as for ViT-S/16.
_base_ = 'retinanet_vit-s16_coco.py'

model = dict(
    backbone=dict(patch_size=8, window_size=28),
    neck=dict(scales=(1, 0.5, 0.25)))
