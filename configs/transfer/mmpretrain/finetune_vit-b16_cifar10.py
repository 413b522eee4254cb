# Fine-tune a ViT-B/16 on CIFAR-10.
_base_ = 'finetune_vit-s16_cifar10.py'

model = dict(backbone=dict(arch='deit-base'), head=dict(in_channels=768))
