# ViT-S/16 as released, 800 epochs. Published: k-NN 74.5, linear 77.0.
# 16 GPUs x 64 images = 1024, fp32.
_base_ = 'dino_vit-s16.py'

model = dict(head=dict(norm_last_layer=False))

train_dataloader = dict(
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(scale=(0.25, 1.0))),
                global_2=dict(crop=dict(scale=(0.25, 1.0))),
                local=dict(num_views=10, crop=dict(scale=(0.05, 0.25)))))))

train_cfg = dict(max_epochs=800)
optim_wrapper = dict(clip_grad=None)
_base_.param_scheduler[1].eta_min = 1e-5
default_hooks = dict(
    centering=dict(
        teacher_temp=0.07, warmup_teacher_temp=0.04, warmup_epochs=30))
