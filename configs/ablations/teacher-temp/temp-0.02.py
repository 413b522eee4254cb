# A teacher temperature of 0.02.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

default_hooks = dict(
    centering=dict(
        teacher_temp=0.02, warmup_teacher_temp=0.02, warmup_epochs=0))
