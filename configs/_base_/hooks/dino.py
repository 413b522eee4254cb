# The hooks that update the teacher, the centre and the last layer. They are in
# default_hooks, so that a config can change a single number of one of them.
_base_ = '../default_runtime.py'

default_hooks = dict(
    teacher=dict(type='TeacherEMAHook', momentum=0.996),
    centering=dict(
        type='CenteringHook',
        teacher_temp=0.04,
        warmup_teacher_temp=0.04,
        warmup_epochs=0),
    freeze_last_layer=dict(type='FreezeLastLayerHook', num_epochs=1),
    collapse=dict(type='CollapseMonitorHook', interval=50, begin=1))
