# The second stage of dinov2_vit-s16: 512 px, 518 being no multiple of the
# patch, so that patches tell more. Weights, head and moving averages come from
# the first stage's checkpoint; position embeddings are resized from 14 x 14
# patches to 32 x 32. 8 GPUs x 32 images = 256: 10,008 iterations; on fewer the
# rate follows. Nothing is published for this file.
_base_ = ['_base_/models/dinov2_vit.py', '_base_/dinov2_high_res.py']

load_from = 'work_dirs/dinov2_vit-s16/epoch_100.pth'
_size = 512
model = dict(
    backbone=dict(
        arch='deit-small', img_size=_size, drop_path_rate=0.1, with_cp=True),
    # 10,000 masked patches have logits of 2.6 GB.
    tokens_per_chunk=1024)

_global = dict(crop=dict(size=_size))
train_dataloader = dict(
    dataset=dict(
        pipeline=dict(views=dict(global_1=_global, global_2=_global))))

param_scheduler = dict(warmup_epochs=2 * 0.1)
default_hooks = dict(
    centering=dict(warmup_epochs=2 * 0.3),
    freeze_last_layer=dict(num_epochs=2 * 0.01))
