# The same with patches of 8 pixels: four times the tokens.
_base_ = 'fpn_vit-s16.py'

_base_.model.neck[0].rescales = [2, 1, 0.5, 0.25]
model = dict(backbone=dict(patch_size=8))
