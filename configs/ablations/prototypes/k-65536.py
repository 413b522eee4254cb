# 65,536 prototypes: vanilla 100 epochs, published k-NN 69.3, linear 74.0.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(head=dict(out_dim=65536))
