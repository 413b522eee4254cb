# ViT-S/16 as released, 800 epochs. Published: k-NN 74.5, linear 77.0.
# 16 GPUs x 64 images = 1024, fp32.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_10-local.py',
    '_base_/schedules/adamw_800e.py',
]

model = dict(head=dict(norm_last_layer=False))
