# k-NN on ImageNet, ViT-S/8. Published: 78.3, 20-NN.
_base_ = 'knn_vit-s16.py'

model = dict(backbone=dict(patch_size=8))
