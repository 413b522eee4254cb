# The same with the width of ViT-B.
_base_ = 'linear4_vit-s16.py'

model = dict(
    backbone=dict(arch='deit-base'), decode_head=dict(in_channels=[768] * 4))
