_base_ = 'finetune_160k.py'

_base_.param_scheduler[1].end = 80000
train_cfg = dict(max_iters=80000, val_interval=8000)
default_hooks = dict(checkpoint=dict(interval=8000))
