# Sinkhorn-Knopp where the teacher is a copy of the student.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(centering=dict(_delete_=True, type='SinkhornKnopp', num_iters=3))
default_hooks = dict(
    teacher=dict(_delete_=True, type='TeacherCopyHook', when='after_step'))
