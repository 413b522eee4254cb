# Neither centring nor sharpening.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(centering=dict(_delete_=True, type='NoCentering'))
default_hooks = dict(
    centering=dict(teacher_temp=0.1, warmup_teacher_temp=0.1, warmup_epochs=0))
