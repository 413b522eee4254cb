# Centring where the teacher is a copy of the student.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(centering=dict(type='MeanCentering', momentum=0.9))
default_hooks = dict(
    teacher=dict(_delete_=True, type='TeacherCopyHook', when='after_step'))
