# The norms g of the prototypes are trained.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(head=dict(norm_last_layer=False))
