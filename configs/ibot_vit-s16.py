# iBOT ViT-S/16, 800 epochs. Published: k-NN 75.2, linear 77.9.
# 16 GPUs x 64 images = 1024.
_base_ = [
    '_base_/models/ibot_vit.py',
    '_base_/datasets/imagenet_10-local.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

train_cfg = dict(max_epochs=800)
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=30))
