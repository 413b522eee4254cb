# Linear probe of ResNet-50. Published: linear 75.3.
_base_ = ['../_base_/models/dino_resnet50.py', '_base_/linear.py']

model = dict(
    _delete_=True,
    type='LinearProbe',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=_base_.model.neck,
    features=dict(type='PooledFeatures'),
    num_classes=1000,
    # 0.3 is the official one; each costs a linear layer.
    learning_rates=[1e-2, 3e-2, 1e-1, 3e-1, 1., 3.],
    checkpoint=None)
