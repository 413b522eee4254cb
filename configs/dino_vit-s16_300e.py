# ViT-S/16, 300 epochs, "boosted". Published: k-NN 73.3, linear 76.0.
# 8 GPUs x 64 images.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_multi_crop.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

model = dict(head=dict(norm_last_layer=False))
train_cfg = dict(max_epochs=300)
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=30))
