# DINO in minutes on two CPU cores: a very small ViT on ShapeScenes, 48 px.
_base_ = ['../_base_/models/dino_vit-tiny.py', '_base_/shapescenes.py']
