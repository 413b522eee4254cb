# Linear probe of XCiT-S12/8. Published: linear 79.2.
_base_ = 'linear_xcit-s12-p16.py'

model = dict(backbone=dict(model_name='xcit_small_12_p8_224'))
