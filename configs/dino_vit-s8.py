# ViT-S/8 as released, 800 epochs. Published: k-NN 78.3, linear 79.7.
# 64 GPUs x 16 images = 1024, fp32. To keep 1024 on 8 GPUs:
#   --cfg-options optim_wrapper.accumulative_counts=8 \
#                 optim_wrapper.optimizer.lr=4e-3
_base_ = [
    '_base_/models/dino_vit.py',
    '_base_/datasets/imagenet_10-local.py',
    '_base_/schedules/adamw_800e.py',
]

model = dict(backbone=dict(patch_size=8), head=dict(norm_last_layer=False))
train_dataloader = dict(batch_size=16)
