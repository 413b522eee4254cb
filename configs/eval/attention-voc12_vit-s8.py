# Attention and the objects of PASCAL VOC 2012, ViT-S/8.
_base_ = 'attention-voc12_vit-s16.py'

model = dict(backbone=dict(patch_size=8))
