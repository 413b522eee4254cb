# k-NN on ImageNet, ResNet-50. Published: 67.5, 20-NN.
_base_ = ['../_base_/models/dino_resnet50.py', '_base_/knn.py']
