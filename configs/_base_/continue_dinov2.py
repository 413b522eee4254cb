# Twenty epochs on your own images, starting from a published backbone of
# DINOv2 and new heads.
_base_ = [
    'models/dinov2_vit.py', 'datasets/own_images_p14.py', 'schedules/dinov2.py'
]

# The published ViTs have patches of 14 px and position embeddings for images
# of 518 px. Their heads were not published, so new ones are trained.
model = dict(
    backbone=dict(
        arch='deit-small', patch_size=14, img_size=518, drop_path_rate=0.1),
    # Fewer prototypes than in pretraining, since there are fewer images.
    head=dict(out_dim=8192))

train_cfg = dict(max_epochs=20, val_interval=4)
# lr is that of the heads. The backbone has a tenth of it, which decays further
# towards its first layers.
optim_wrapper = dict(
    optimizer=dict(lr=1e-3),
    paramwise_cfg=dict(layer_decay_rate=0.8, backbone_lr_mult=0.1))
param_scheduler = dict(warmup_epochs=1, end_weight_decay=None)

# The backbone is frozen until the heads have learnt, and the teacher moves
# slowly. A table at the end compares k-NN before, during and after training.
default_hooks = dict(
    teacher=dict(momentum=0.999),
    centering=dict(warmup_epochs=5),
    freeze_last_layer=dict(num_epochs=0),
    # num_iters and warmup_iters are shares of the training.
    freeze_backbone=dict(
        type='FreezeBackboneHook', num_iters=0.1, warmup_iters=0.05),
    # stop_below=1. would stop a training that has lost a point of k-NN.
    validate_first=dict(type='ValidateFirstHook', needs_start=True))
