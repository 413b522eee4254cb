# Mask R-CNN on a ViT-S/16, COCO: a simple feature pyramid with strides 4 to 64
# on the last map, and 100 epochs of large-scale jitter at 1024 px, as in
# ViTDet. Eight of the twelve blocks attend within windows; at 1024 px the cost
# of their attention is a twenty-fifth of that of the others.
_base_ = [
    'mmdet::_base_/models/mask-rcnn_r50_fpn.py',
    'mmdet::common/lsj-100e_coco-instance.py', '_base_/dino.py'
]

model = dict(
    backbone=dict(
        _base_._vit_s16,
        type='mmdino.WindowedVisionTransformer',
        window_size=14,
        global_blocks=(2, 5, 8, 11)),
    neck=dict(_base_._vit_s16_pyramid, scales=(4, 2, 1, 0.5)))

optim_wrapper = _base_._vit_optim_wrapper
auto_scale_lr = dict(enable=True)
