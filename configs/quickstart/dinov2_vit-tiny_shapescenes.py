# DINOv2 in minutes on two CPU cores: the quickstart's network, pictures and
# optimisation, with masked patches and KoLeo.
_base_ = ['../_base_/models/dinov2_vit-tiny.py', '_base_/shapescenes.py']
