# Settings with which a very small ViT learns from 10,000 images of CIFAR-10.
_base_ = [
    '../../_base_/datasets/cifar10_two_views.py',
    '../../_base_/schedules/adamw_100e.py',
    '../../_base_/hooks/dino.py',
]

train_cfg = dict(max_epochs=18, val_interval=2)
optim_wrapper = dict(optimizer=dict(lr=3e-3))  # 1.5e-3 at a batch of 128
param_scheduler = dict(warmup_epochs=1)
default_hooks = dict(
    teacher=dict(momentum=0.98),
    centering=dict(teacher_temp=0.03, warmup_teacher_temp=0.03),
    checkpoint=dict(interval=18))
