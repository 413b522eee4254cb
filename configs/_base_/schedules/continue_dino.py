# Ten more epochs of a trained network.
_base_ = 'adamw_100e.py'

train_cfg = dict(max_epochs=10, val_interval=5)

# A tenth of the learning rate; the weight decay stays where it ended.
optim_wrapper = dict(
    optimizer=dict(lr=5e-5, weight_decay=0.4), clip_grad=dict(max_norm=0.3))
param_scheduler = dict(warmup_epochs=1, end_lr=1e-6, end_weight_decay=None)
