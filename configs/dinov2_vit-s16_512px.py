# The second stage of dinov2_vit-s16, with crops of 512 px, which gives better
# features of patches (518 px is no multiple of the patch). Weights, head and
# moving averages come from the checkpoint of the first stage; position
# embeddings are resized from 14 x 14 patches to 32 x 32. 8 GPUs x 32 images =
# 256: 10,008 iterations; with fewer GPUs the learning rate is scaled. There
# are no published results for exactly these settings.
_base_ = ['_base_/models/dinov2_vit.py', '_base_/dinov2_high_res.py']

load_from = 'work_dirs/dinov2_vit-s16/epoch_100.pth'
_size = 512
model = dict(
    backbone=dict(
        arch='deit-small', img_size=_size, drop_path_rate=0.1, with_cp=True),
    # The logits of 10,000 masked patches would take 2.6 GB.
    tokens_per_chunk=1024)

_global = dict(crop=dict(size=_size))
train_dataloader = dict(
    dataset=dict(
        pipeline=dict(views=dict(global_1=_global, global_2=_global))))

param_scheduler = dict(warmup_epochs=2 * 0.1)
default_hooks = dict(
    centering=dict(warmup_epochs=2 * 0.3),
    freeze_last_layer=dict(num_epochs=2 * 0.01))
