# Ten more epochs of a trained ViT-S/8; see dino_vit-s16_continue.py.
_base_ = [
    '../_base_/models/dino_vit.py',
    '../_base_/datasets/imagenet_10-local.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/hooks/dino.py',
]

model = dict(backbone=dict(patch_size=8), head=dict(norm_last_layer=False))
train_dataloader = dict(batch_size=16)

train_cfg = dict(max_epochs=10, val_interval=5)

# A tenth of the learning rate; the weight decay stays where it ended.
optim_wrapper = dict(
    optimizer=dict(lr=5e-5, weight_decay=0.4), clip_grad=dict(max_norm=0.3))
param_scheduler = dict(warmup_epochs=1, end_lr=1e-6, end_weight_decay=None)

default_hooks = dict(
    # The teacher moves slowly from the start: the student has less to teach.
    teacher=dict(momentum=0.9995),
    centering=dict(teacher_temp=0.07, warmup_teacher_temp=0.07),
    freeze_last_layer=dict(num_epochs=0),
    validate_first=dict(type='ValidateFirstHook'))
