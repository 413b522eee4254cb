# Squared distance between the two distributions.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(loss=dict(type='MSELoss'))
