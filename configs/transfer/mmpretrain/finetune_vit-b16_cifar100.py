# Fine-tune a ViT-B/16 on CIFAR-100.
_base_ = 'finetune_vit-s16_cifar100.py'

model = dict(backbone=dict(arch='deit-base'), head=dict(in_channels=768))
