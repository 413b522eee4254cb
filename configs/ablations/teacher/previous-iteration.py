# The student one step ago.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

default_hooks = dict(
    teacher=dict(_delete_=True, type='TeacherCopyHook', when='before_step'))
