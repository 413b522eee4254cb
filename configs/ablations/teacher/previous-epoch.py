# The student of the epoch before.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

default_hooks = dict(
    teacher=dict(_delete_=True, type='TeacherCopyHook', when='after_epoch'))
