# What moves beside the student. Hooks stand in default_hooks, where a config
# changes one number of one.
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
