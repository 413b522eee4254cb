# RetinaNet on a plain ViT: a simple pyramid of strides 8 to 128.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', 'vit-s16.py']

model = dict(
    backbone=_base_.dino_backbone,
    neck=dict(
        _delete_=True,
        type='mmdino.SimpleFeaturePyramid',
        embed_dim=384,
        scales=(2, 1, 0.5),
        out_channels=256,
        num_outs=5))
