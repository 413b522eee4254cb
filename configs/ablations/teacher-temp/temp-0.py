# A teacher temperature of 0, the limit of a small one: the target is the
# largest logit.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

default_hooks = dict(
    centering=dict(
        teacher_temp=1e-6, warmup_teacher_temp=1e-6, warmup_epochs=0))
