# A teacher temperature of 0.04: vanilla 100 epochs, published k-NN 69.3,
# linear 74.0.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

default_hooks = dict(
    centering=dict(
        teacher_temp=0.04, warmup_teacher_temp=0.04, warmup_epochs=0))
