# The same with the width of ViT-B.
_base_ = 'fpn_vit-s16.py'

_base_.model.neck[0].embed_dim = 768
_base_.model.neck[1].in_channels = [768] * 4
model = dict(backbone=dict(arch='deit-base'))
