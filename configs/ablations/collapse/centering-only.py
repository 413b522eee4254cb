# Centring alone: the teacher's temperature is the student's.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

default_hooks = dict(
    centering=dict(teacher_temp=0.1, warmup_teacher_temp=0.1, warmup_epochs=0))
