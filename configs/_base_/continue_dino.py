# Ten more epochs of a trained network, with or without its heads.
_base_ = ['schedules/adamw_100e.py', 'hooks/dino.py']

train_cfg = dict(max_epochs=10, val_interval=5)

# A tenth of the learning rate; the weight decay keeps its final value.
optim_wrapper = dict(
    optimizer=dict(lr=5e-5, weight_decay=0.4), clip_grad=dict(max_norm=0.3))
param_scheduler = dict(warmup_epochs=1, end_lr=1e-6, end_weight_decay=None)

default_hooks = dict(
    # The teacher starts from trained weights and may follow slowly.
    teacher=dict(momentum=0.9995),
    centering=dict(teacher_temp=0.07, warmup_teacher_temp=0.07),
    freeze_last_layer=dict(num_epochs=0),
    validate_first=dict(type='ValidateFirstHook'))
