# ViT-B/8 as released, 300 epochs. Published: k-NN 77.4, linear 80.1. 176 GPUs
# x 6 images = 1056, fp32. Unlike for the other models, the authors did not
# publish all settings: epochs, learning rates, clipping and freezing are cited
# ones, the rest is from ViT-B/16.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_10-local.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

model = dict(backbone=dict(arch='deit-base', patch_size=8))
train_dataloader = dict(batch_size=6)

train_cfg = dict(max_epochs=300)
param_scheduler = dict(end_lr=2e-6)
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=50),
    freeze_last_layer=dict(num_epochs=3))
