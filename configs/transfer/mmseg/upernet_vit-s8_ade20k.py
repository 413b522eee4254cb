# UPerNet on a fine-tuned ViT-S/8, ADE20K. It has four times the tokens of a
# ViT-S/16. To use a ViT-S/16, remove the two lines of the model.
_base_ = ['_base_/upernet_vit-s16.py', 'mmseg::_base_/datasets/ade20k.py']

model = dict(
    backbone=dict(patch_size=8), neck=dict(rescales=[2, 1, 0.5, 0.25]))
