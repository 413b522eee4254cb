# ViT-S/16 on the two global crops alone, 100 epochs.
# 8 GPUs x 64 images.
_base_ = 'dino_vit-s16.py'

train_dataloader = dict(
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(scale=(0.14, 1.0))),
                global_2=dict(crop=dict(scale=(0.14, 1.0))),
                local=dict(num_views=0)))))

optim_wrapper = dict(clip_grad=None)
_base_.param_scheduler[1].eta_min = 1e-5
