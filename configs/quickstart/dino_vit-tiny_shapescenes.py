# DINO in minutes on two CPU cores: a very small ViT on ShapeScenes, 48 px.
_base_ = ['../_base_/models/dino_vit-tiny.py', '_base_/shapescenes.py']

model = dict(
    data_preprocessor=dict(channels_last=True),
    # It uses all prototypes equally. With a centre and so low a temperature, a
    # few prototypes would get all images.
    centering=dict(_delete_=True, type='SinkhornKnopp'))
