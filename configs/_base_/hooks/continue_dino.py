# From a trained network, with or without its heads.
_base_ = 'dino.py'

default_hooks = dict(
    # The teacher moves slowly from the start: the student has less to teach.
    teacher=dict(momentum=0.9995),
    centering=dict(teacher_temp=0.07, warmup_teacher_temp=0.07),
    freeze_last_layer=dict(num_epochs=0),
    validate_first=dict(type='ValidateFirstHook', needs_start=True))
