# Linear probe of XCiT-M24/16. Published: linear 78.8.
_base_ = 'linear_xcit-s12-p16.py'

model = dict(backbone=dict(model_name='xcit_medium_24_p16_224'))
