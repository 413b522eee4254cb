# Segmenter on a fine-tuned ViT-S/16, ADE20K.
_base_ = ['_base_/segmenter_vit-s16.py', 'mmseg::_base_/datasets/ade20k.py']
