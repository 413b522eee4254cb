# No predictor, the paper's choice: vanilla 100 epochs, published k-NN 69.3,
# linear 74.0.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(predictor=None)
