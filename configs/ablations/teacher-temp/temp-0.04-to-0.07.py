# A teacher temperature of 0.04 that rises to 0.07 over 30 epochs.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=30))
