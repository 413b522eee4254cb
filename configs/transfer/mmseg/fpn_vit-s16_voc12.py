# Semantic FPN on a fine-tuned ViT-S/16, VOC 2012.
_base_ = ['_base_/fpn_vit-s16.py', '_base_/voc12.py', '_base_/finetune_40k.py']

model = dict(decode_head=dict(num_classes=21))
