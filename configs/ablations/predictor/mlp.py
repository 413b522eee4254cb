# A predictor of two layers on the student's bottleneck.
_base_ = '{{$MMDINO_BASE:../../dino_vit-s16.py}}'

model = dict(
    predictor=dict(
        type='Predictor', hidden_channels=_base_.model.head.hidden_channels))
