# Twenty epochs from a trained backbone and new heads. The rates are those of
# the heads; the backbone's are a tenth, and less in its early layers.
_base_ = 'dinov2.py'

train_cfg = dict(max_epochs=20, val_interval=4)
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(layer_decay_rate=0.8, backbone_lr_mult=0.1))
param_scheduler = dict(warmup_epochs=1, end_weight_decay=None)
