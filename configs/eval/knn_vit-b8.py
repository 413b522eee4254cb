# k-NN on ImageNet, ViT-B/8. Published: 77.4, 20-NN.
_base_ = 'knn_vit-b16.py'

model = dict(backbone=dict(patch_size=8))
