_base_ = 'finetune_160k.py'

_base_.param_scheduler[1].end = 40000
train_cfg = dict(max_iters=40000, val_interval=4000)
default_hooks = dict(checkpoint=dict(interval=4000))
