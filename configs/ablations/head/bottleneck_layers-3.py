# 2 linear layers up to the L2-normalised bottleneck.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(head=dict(num_layers=2))
