# ViT-B/16 as released, 400 epochs. Published: k-NN 76.1, linear 78.2.
# 32 GPUs x 32 images = 1024, fp32.
_base_ = 'dino_vit-s16_800e.py'

model = dict(backbone=dict(arch='deit-base'), head=dict(norm_last_layer=True))
train_dataloader = dict(batch_size=32)

train_cfg = dict(max_epochs=400)
optim_wrapper = dict(
    optimizer=dict(lr=7.5e-4), clip_grad=dict(_delete_=True, max_norm=0.3))
_base_.param_scheduler[1].eta_min = 2e-6
default_hooks = dict(
    centering=dict(warmup_epochs=50), freeze_last_layer=dict(num_epochs=3))
