# DINO in minutes on two CPU cores: a very small ViT on ShapeScenes, 48 px.
# The numbers come from the search that README.md in this folder tells about.
_base_ = ['../_base_/models/dino_vit-tiny.py', '_base_/shapescenes.py']

model = dict(
    data_preprocessor=dict(channels_last=True),
    # It gives every prototype its share: a centre lets a handful take all
    # pictures at the temperature below.
    centering=dict(_delete_=True, type='SinkhornKnopp'))

# 2e-3 at a batch of 128; 900 steps are too few for the recipes' 2.5e-4. The
# weight decay, from 3 to 15, keeps the attention from narrowing to a few
# patches; more of it stops the features from learning. Over so few steps it
# is milder than the recipes' to 0.4.
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=3.))
param_scheduler = dict(end_weight_decay=15.)

# Sharper than 0.04: Sinkhorn-Knopp evens the targets out.
default_hooks = dict(
    centering=dict(teacher_temp=0.02, warmup_teacher_temp=0.02))
