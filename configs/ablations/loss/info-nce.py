# Contrast with the other images of all ranks.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(loss=dict(type='InfoNCELoss'))
