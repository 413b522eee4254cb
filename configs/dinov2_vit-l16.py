# ViT-L/16 on ImageNet-1k, the short recipe. Published: k-NN 81.6, linear 82.9.
# 32 GPUs x 64 images = 2048. The authors' 100 "epochs" of 1,250 iterations are
# 200 epochs of the data set, 625 iterations each.
_base_ = [
    '_base_/models/dinov2_vit.py',
    '_base_/datasets/imagenet_dinov2.py',
    '_base_/schedules/dinov2.py',
]

train_cfg = dict(max_epochs=200, val_interval=20)
param_scheduler = dict(warmup_epochs=20)  # 12,500 iterations
default_hooks = dict(
    centering=dict(warmup_epochs=60),  # 37,500 iterations
    freeze_last_layer=dict(num_epochs=2))  # 1,250 iterations
