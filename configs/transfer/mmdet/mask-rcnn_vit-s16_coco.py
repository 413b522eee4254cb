# Mask R-CNN on a ViT-S/16, COCO. Eight of the twelve blocks attend within
# windows: at 1024 px their attention costs a twenty-fifth of the others'.
_base_ = 'mask-rcnn_vit-s16-global_coco.py'

model = dict(
    backbone=dict(
        type='mmdino.WindowedVisionTransformer',
        window_size=14,
        global_blocks=(2, 5, 8, 11)))
