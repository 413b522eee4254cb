# RetinaNet with FPN on an XCiT-M24/16, COCO.
_base_ = 'retinanet_xcit-s12-p16_coco.py'

_base_.model.neck[0].embed_dim = 512
_base_.model.neck[1].in_channels = [128, 256, 512, 512]
model = dict(
    backbone=dict(
        model_name='xcit_medium_24_p16_224', out_indices=(7, 11, 15, 23)))
