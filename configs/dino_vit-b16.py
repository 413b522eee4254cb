# ViT-B/16 as released, 400 epochs. Published: k-NN 76.1, linear 78.2.
# 32 GPUs x 32 images = 1024, fp32.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_10-local.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

model = dict(backbone=dict(arch='deit-base'))
train_dataloader = dict(batch_size=32)

train_cfg = dict(max_epochs=400)
optim_wrapper = dict(optimizer=dict(lr=7.5e-4), clip_grad=dict(max_norm=0.3))
param_scheduler = dict(end_lr=2e-6)
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=50),
    freeze_last_layer=dict(num_epochs=3))
