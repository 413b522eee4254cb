# ViT-S/16 without local crops, 100 epochs.
# 8 GPUs x 64 images.
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_multi_crop.py',
    '_base_/schedules/adamw_100e.py',
    '_base_/hooks/dino.py',
]

train_dataloader = dict(
    dataset=dict(
        pipeline=dict(
            views=dict(
                global_1=dict(crop=dict(scale=(0.14, 1.0))),
                global_2=dict(crop=dict(scale=(0.14, 1.0))),
                local=dict(num_views=0)))))

optim_wrapper = dict(clip_grad=None)
param_scheduler = dict(end_lr=1e-5)
