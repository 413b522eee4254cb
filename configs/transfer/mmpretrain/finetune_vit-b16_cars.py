# Fine-tune a ViT-B/16 on Stanford Cars.
_base_ = 'finetune_vit-s16_cars.py'

model = dict(backbone=dict(arch='deit-base'), head=dict(in_channels=768))
