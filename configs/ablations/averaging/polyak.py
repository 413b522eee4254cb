# Polyak average of the student, which guides nothing. The run is that of none;
# the average is saved as the teacher, and evaluated.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

_rate = 1 - _base_.default_hooks.teacher.momentum
model = dict(centering=dict(_delete_=True, type='SinkhornKnopp', num_iters=3))
default_hooks = dict(
    teacher=dict(_delete_=True, type='TeacherCopyHook', when='after_step'))
custom_hooks = [dict(type='EMAHook', momentum=_rate)]
