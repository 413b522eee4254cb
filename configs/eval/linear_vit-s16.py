# Linear probe of ViT-S/16, class tokens of the last 4 blocks. Published:
# linear 77.0 (800 epochs), 76.0 (300), 74.0 (100, "vanilla").
_base_ = ['../_base_/models/dino_vit.py', '_base_/linear.py']

model = dict(
    _delete_=True,
    type='LinearProbe',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=dict(_base_.model.backbone, drop_path_rate=0.),
    features=dict(type='LastBlocks', n=4),
    num_classes=1000,
    # 1e-3 is the official one; each costs a linear layer.
    learning_rates=[1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1],
    checkpoint=None)
