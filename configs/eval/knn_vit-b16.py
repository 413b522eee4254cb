# k-NN on ImageNet, ViT-B/16. Published: 76.1, 20-NN.
_base_ = 'knn_vit-s16.py'

model = dict(backbone=dict(arch='deit-base'))
