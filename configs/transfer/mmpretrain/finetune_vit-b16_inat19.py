# Fine-tune a ViT-B/16 on iNaturalist 2019.
_base_ = 'finetune_vit-s16_inat19.py'

model = dict(backbone=dict(arch='deit-base'), head=dict(in_channels=768))
