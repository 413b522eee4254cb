# RetinaNet on a ViT-S/16 whose blocks all attend to the whole image, COCO: a
# simple feature pyramid with strides 8 to 128 on the last map, and 100 epochs
# of large-scale jitter at 1024 px, as in ViTDet.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py',
    'mmdet::common/lsj-100e_coco-detection.py', '_base_/dino.py'
]

model = dict(
    backbone=_base_._vit_s16,
    neck=dict(_base_._vit_s16_pyramid, scales=(2, 1, 0.5)))

optim_wrapper = _base_._vit_optim_wrapper
auto_scale_lr = dict(enable=True)
