# Fine-tune a ViT-B/16 on Oxford Flowers-102.
_base_ = 'finetune_vit-s16_flowers102.py'

model = dict(backbone=dict(arch='deit-base'), head=dict(in_channels=768))
