# COCO with boxes, 36 epochs at several sizes of image, AdamW as the authors
# of XCiT train detectors.
_base_ = 'mmdet::common/ms_3x_coco.py'

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(
        type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0.))
auto_scale_lr = dict(enable=True)
# Class attention serves no map.
find_unused_parameters = True
randomness = dict(seed=0)
