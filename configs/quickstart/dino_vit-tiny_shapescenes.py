# DINO in minutes on two CPU cores: a very small ViT on ShapeScenes, 48 px.
# The numbers come from the search that README.md in this folder tells about.
_base_ = [
    '../_base_/models/dino_vit.py',
    '../_base_/datasets/shape_scenes.py',
    '../_base_/schedules/adamw_100e.py',
    '../_base_/hooks/dino.py',
]

model = dict(
    data_preprocessor=dict(channels_last=True),
    backbone=dict(
        # Three wider heads soon look at a few patches of the object only.
        arch=dict(
            _delete_=True,
            embed_dims=96,
            num_layers=2,
            num_heads=6,
            feedforward_channels=192),
        img_size=48,
        # 6 x 6 patches; patches of 4 px would be four times as many tokens.
        patch_size=8,
        # Its BatchNorm spreads the features of the pictures from the start.
        stem=dict(type='ConvStem'),
        drop_path_rate=0.),
    head=dict(
        out_dim=256,
        hidden_channels=256,
        # The logits of a random head have a standard deviation of
        # 32 ** -0.5: with 256 they would be too flat to ever leave uniform.
        bottleneck_channels=32,
        use_bn=True),
    # It gives every prototype its share: a centre lets a handful take all
    # pictures at the temperature below.
    centering=dict(_delete_=True, type='SinkhornKnopp'),
    predict_attention=True)

train_cfg = dict(max_epochs=60, val_interval=10)

# 2e-3 at a batch of 128; 900 steps are too few for the recipes' 2.5e-4. The
# weight decay, from 3 to 15, keeps the attention from narrowing to a few
# patches; more of it stops the features from learning. Over so few steps it
# is milder than the recipes' to 0.4.
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=3.))
param_scheduler = dict(warmup_epochs=1, end_weight_decay=15.)

default_hooks = dict(
    # 15 steps an epoch: with 0.996 the teacher would lag 16 epochs behind.
    teacher=dict(momentum=0.98),
    # Sharper than 0.04: Sinkhorn-Knopp evens the targets out.
    centering=dict(teacher_temp=0.02, warmup_teacher_temp=0.02),
    logger=dict(interval=15),
    checkpoint=dict(interval=10, max_keep_ckpts=1))
