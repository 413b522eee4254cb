# Mask R-CNN on a plain ViT: a simple pyramid of strides 4 to 64.
_base_ = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', 'vit-s16.py']

model = dict(
    backbone=_base_.dino_backbone,
    neck=dict(
        _delete_=True,
        type='mmdino.SimpleFeaturePyramid',
        embed_dim=384,
        scales=(4, 2, 1, 0.5),
        out_channels=256,
        num_outs=5))
