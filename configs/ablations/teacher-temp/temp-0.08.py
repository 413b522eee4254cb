# A teacher temperature of 0.08.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

default_hooks = dict(
    centering=dict(
        teacher_temp=0.08, warmup_teacher_temp=0.08, warmup_epochs=0))
