# ViT-S/16 as released, 800 epochs. Published: k-NN 74.5, linear 77.0.
# 16 GPUs x 64 images = 1024, fp32.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_10-local.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

model = dict(head=dict(norm_last_layer=False))

train_cfg = dict(max_epochs=800)
optim_wrapper = dict(clip_grad=None)
param_scheduler = dict(end_lr=1e-5)
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=30))
