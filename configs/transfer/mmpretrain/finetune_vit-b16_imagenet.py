# Fine-tune a ViT-B/16 on ImageNet.
_base_ = 'finetune_vit-s16_imagenet.py'

model = dict(backbone=dict(arch='deit-base'), head=dict(in_channels=768))
