# Batch normalisation in the head.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(head=dict(use_bn=True))
