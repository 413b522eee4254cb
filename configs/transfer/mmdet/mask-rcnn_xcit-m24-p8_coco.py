# Mask R-CNN with FPN on an XCiT-M24/8, COCO: four times the tokens.
_base_ = 'mask-rcnn_xcit-m24-p16_coco.py'

_base_.model.neck[0].scales = (2, 1, 0.5, 0.25)
_base_.model.neck[1].in_channels = [256, 512, 512, 512]
model = dict(backbone=dict(model_name='xcit_medium_24_p8_224'))
