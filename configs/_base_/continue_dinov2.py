# Twenty epochs from one of DINOv2's published backbones and new heads, on
# pictures of your own.
_base_ = [
    'models/dinov2_vit.py', 'datasets/own_images_p14.py', 'schedules/dinov2.py'
]

# ViTs of patches of 14 px whose position embeddings are those of 518 px. Their
# heads were not published: new ones.
model = dict(
    backbone=dict(
        arch='deit-small', patch_size=14, img_size=518, drop_path_rate=0.1),
    # Few pictures need few prototypes.
    head=dict(out_dim=8192))

train_cfg = dict(max_epochs=20, val_interval=4)
# The rates are those of the heads; the backbone's are a tenth, and less in its
# early layers.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(layer_decay_rate=0.8, backbone_lr_mult=0.1))
param_scheduler = dict(warmup_epochs=1, end_weight_decay=None)

# The backbone waits for the heads, and the teacher moves slowly. k-NN before,
# on the way and after ends up in a table.
default_hooks = dict(
    teacher=dict(momentum=0.999),
    centering=dict(warmup_epochs=5),
    freeze_last_layer=dict(num_epochs=0),
    # Shares of the training.
    freeze_backbone=dict(
        type='FreezeBackboneHook', num_iters=0.1, warmup_iters=0.05),
    # stop_below=1. ends a training that has lost a point of k-NN.
    validate_first=dict(type='ValidateFirstHook', needs_start=True))
