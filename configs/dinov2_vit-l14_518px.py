# The second stage of dinov2_vit-l14_22k: 518 px, so that patches tell more.
# Weights, heads and moving averages come from the first stage's checkpoint;
# position embeddings are resized from 16 x 16 patches to 37 x 37. 96 GPUs x 32
# images = 3072: 9,242 iterations. Nothing is published for this file.
_base_ = ['_base_/models/dinov2_vit-l14.py', '_base_/dinov2_high_res.py']

load_from = 'work_dirs/dinov2_vit-l14_22k/epoch_135.pth'
model = dict(backbone=dict(img_size=518, drop_path_subset=True, with_cp=True))

train_dataloader = dict(dataset=dict(data_root='data/imagenet-22k', subset=''))

optim_wrapper = dict(
    optimizer=dict(lr=2e-5), paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = dict(
    warmup_epochs=2 * 0.16,  # of 625,000 iterations 100,000
    end_weight_decay=0.2)
default_hooks = dict(
    teacher=dict(momentum=0.994),
    centering=dict(warmup_epochs=2 * 0.06),  # 37,500
    freeze_last_layer=dict(num_epochs=2 * 0.002))  # 1,250
