# Mask R-CNN with FPN on an XCiT-S12/8, COCO: four times the tokens.
_base_ = 'mask-rcnn_xcit-s12-p16_coco.py'

_base_.model.neck[0].scales = (2, 1, 0.5, 0.25)
_base_.model.neck[1].in_channels = [192, 384, 384, 384]
model = dict(backbone=dict(model_name='xcit_small_12_p8_224'))
