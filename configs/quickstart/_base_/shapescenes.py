# How a very small ViT learns ShapeScenes.
_base_ = [
    '../../_base_/datasets/shape_scenes.py',
    '../../_base_/schedules/adamw_100e.py',
    '../../_base_/hooks/dino.py',
]

train_cfg = dict(max_epochs=60, val_interval=10)
param_scheduler = dict(warmup_epochs=1)
default_hooks = dict(
    # 15 steps an epoch: with 0.996 the teacher would lag 16 epochs behind.
    teacher=dict(momentum=0.98),
    logger=dict(interval=15),
    checkpoint=dict(interval=10, max_keep_ckpts=1))
