# A centre momentum of 0.99.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(centering=dict(momentum=0.99))
