# Linear probe of XCiT-S12/16. Published: linear 77.8.
_base_ = 'linear_vit-s16.py'

model = dict(
    backbone=dict(
        _delete_=True, type='TimmBackbone',
        model_name='xcit_small_12_p16_224'),
    features=dict(_delete_=True, type='PooledFeatures'))
