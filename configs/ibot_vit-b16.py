# iBOT ViT-B/16, 400 epochs. 32 GPUs x 32 images = 1024. The optimisation is
# that of dino_vit-b16. There are no published results for exactly these
# settings.
_base_ = [
    '_base_/models/ibot_vit.py',
    '_base_/datasets/imagenet_10-local.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

model = dict(backbone=dict(arch='deit-base'), head=dict(norm_last_layer=True))

train_dataloader = dict(batch_size=32)
train_cfg = dict(max_epochs=400)
optim_wrapper = dict(optimizer=dict(lr=7.5e-4), clip_grad=dict(max_norm=0.3))
param_scheduler = dict(end_lr=2e-6)
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=50),
    freeze_last_layer=dict(num_epochs=3))
