# 800 epochs, as the authors' released ViT-S/16: without clipping.
_base_ = ['adamw_100e.py', '../hooks/dino.py']

train_cfg = dict(max_epochs=800)
optim_wrapper = dict(clip_grad=None)
param_scheduler = dict(end_lr=1e-5)
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=30))
