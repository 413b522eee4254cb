# The second stage of dinov2_vit-l14_22k, with crops of 518 px, which gives
# better features of patches. Weights, heads and moving averages come from the
# checkpoint of the first stage; position embeddings are resized from 16 x 16
# patches to 37 x 37. 96 GPUs x 32 images = 3072: 9,242 iterations. There are
# no published results for exactly these settings.
_base_ = ['_base_/models/dinov2_vit-l14.py', '_base_/dinov2_high_res.py']

load_from = 'work_dirs/dinov2_vit-l14_22k/epoch_135.pth'
model = dict(backbone=dict(img_size=518, drop_path_subset=True, with_cp=True))

train_dataloader = dict(dataset=dict(data_root='data/imagenet-22k', subset=''))

optim_wrapper = dict(
    optimizer=dict(lr=2e-5), paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = dict(
    warmup_epochs=2 * 0.16,  # in the first stage 100,000 of 625,000 iterations
    end_weight_decay=0.2)
default_hooks = dict(
    teacher=dict(momentum=0.994),
    centering=dict(warmup_epochs=2 * 0.06),  # 37,500
    freeze_last_layer=dict(num_epochs=2 * 0.002))  # 1,250
