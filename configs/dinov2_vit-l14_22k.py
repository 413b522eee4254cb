# ViT-L/14 on ImageNet-22k, the long recipe. Published: k-NN 82.0, linear 84.5.
# 96 GPUs x 32 images = 3072. 625,000 iterations are 135 epochs of 14.2 million
# images, 4,621 iterations each. If your copy has another number of images,
# change the epochs below.
_base_ = [
    '_base_/models/dinov2_vit-l14.py',
    '_base_/datasets/imagenet_dinov2.py',
    '_base_/schedules/dinov2.py',
]

# Class folders without splits. The validation uses ImageNet-1k.
train_dataloader = dict(
    batch_size=32,
    dataset=dict(
        data_root='data/imagenet-22k',
        subset='',
        pipeline=dict(views=dict(local=dict(crop=dict(size=98))))))

train_cfg = dict(max_epochs=135, val_interval=5)
optim_wrapper = dict(
    optimizer=dict(lr=2e-4), paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = dict(
    warmup_epochs=100000 / 4621,  # 100,000 iterations
    end_weight_decay=0.2)
default_hooks = dict(
    teacher=dict(momentum=0.994),
    centering=dict(warmup_epochs=37500 / 4621),
    freeze_last_layer=dict(num_epochs=1250 / 4621))
