# RetinaNet on an XCiT-S12/16, COCO: maps of four blocks, rescaled to strides
# 4 to 32, then FPN from stride 8 on; 36 epochs with images of several sizes.
_base_ = [
    'mmdet::_base_/models/retinanet_r50_fpn.py', 'mmdet::common/ms_3x_coco.py',
    '_base_/dino.py'
]

model = dict(
    backbone=_base_._xcit_s12_p16,
    neck=[
        _base_._xcit_s12_p16_maps,
        dict(
            _base_._xcit_s12_p16_fpn,
            start_level=1,
            add_extra_convs='on_input')
    ])

optim_wrapper = _base_._xcit_optim_wrapper
auto_scale_lr = dict(enable=True)
find_unused_parameters = True
