# DINOv2 in minutes on two CPU cores: dino_vit-tiny_shapescenes with masked
# patches and KoLeo.
_base_ = ['../_base_/models/dinov2_vit-tiny.py', '_base_/shapescenes.py']

model = dict(
    data_preprocessor=dict(channels_last=True),
    centering=dict(_delete_=True, type='SinkhornKnopp'),
    patch_centering=dict(_delete_=True, type='SinkhornKnopp'))

# These take as long as 45 epochs of DINO: a step takes 1.06 times the time.
train_cfg = dict(max_epochs=42, val_interval=14)
