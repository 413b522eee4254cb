# What moves beside the student of a distillation: its average.
_base_ = '../default_runtime.py'

default_hooks = dict(teacher=dict(type='TeacherEMAHook', momentum=0.996))
