# DINO in minutes on two CPU cores: a very small ViT on ShapeScenes, 48 px.
_base_ = ['../_base_/models/dino_vit-tiny.py', '_base_/shapescenes.py']

model = dict(
    data_preprocessor=dict(channels_last=True),
    # It gives every prototype its share: a centre lets a handful take all
    # pictures at so low a temperature.
    centering=dict(_delete_=True, type='SinkhornKnopp'))
