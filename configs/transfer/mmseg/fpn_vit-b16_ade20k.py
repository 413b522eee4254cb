# Semantic FPN on a fine-tuned ViT-B/16, ADE20K.
_base_ = [
    '_base_/fpn_vit-b16.py', '_base_/ade20k.py', '_base_/finetune_160k.py'
]
