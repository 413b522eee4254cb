# Semantic FPN on a fine-tuned ViT-S/8, ADE20K.
_base_ = [
    '_base_/fpn_vit-s8.py', '_base_/ade20k.py', '_base_/finetune_160k.py'
]
