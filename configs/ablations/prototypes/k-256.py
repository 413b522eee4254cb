# 256 prototypes, fewer than in the paper: for small sets of images.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(head=dict(out_dim=256))
