# 5 linear layers, the last the prototypes, with the L2-normalised bottleneck
# before it.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(head=dict(num_layers=4))
