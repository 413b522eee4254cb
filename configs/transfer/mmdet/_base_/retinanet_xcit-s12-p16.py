# RetinaNet on an XCiT: maps of four blocks, rescaled to strides 4 to 32,
# then FPN from stride 8 on.
_base_ = ['mmdet::_base_/models/retinanet_r50_fpn.py', 'xcit-s12-p16.py']

model = dict(
    backbone=_base_.dino_backbone,
    neck=[
        dict(type='mmdino.RescaledMaps', embed_dim=384, scales=(4, 2, 1, 0.5)),
        dict(
            type='FPN',
            in_channels=[96, 192, 384, 384],
            out_channels=256,
            start_level=1,
            add_extra_convs='on_input',
            num_outs=5)
    ])
