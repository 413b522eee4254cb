# A centre momentum of 0.999.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(centering=dict(momentum=0.999))
