# Linear probe of XCiT-M24/8. Published: linear 80.3.
_base_ = 'linear_xcit-s12-p16.py'

model = dict(backbone=dict(model_name='xcit_medium_24_p8_224'))
