# Attention and the objects of PASCAL VOC 2012, ViT-S/16.
_base_ = ['../_base_/models/dino_vit.py', '_base_/attention-voc12.py']

model = dict(predict_attention=True)
