# k-NN on ImageNet, ViT-S/16. Published: 74.5, 20-NN.
_base_ = ['../_base_/models/dino_vit.py', '_base_/knn.py']
