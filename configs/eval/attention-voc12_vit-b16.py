# Attention and the objects of PASCAL VOC 2012, ViT-B/16.
_base_ = 'attention-voc12_vit-s16.py'

model = dict(backbone=dict(arch='deit-base'))
