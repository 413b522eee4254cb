# ViT-S/16, 100 epochs, "vanilla". Published: k-NN 69.3, linear 74.0.
# 8 GPUs x 64 images.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_multi_crop.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]
