# Ten more epochs of a trained ViT-B/16; see dino_vit-s16_continue.py.
_base_ = [
    '../_base_/models/dino_vit.py',
    '../_base_/datasets/imagenet_10-local.py',
    '../_base_/continue_dino.py',
]

model = dict(backbone=dict(arch='deit-base'))
train_dataloader = dict(batch_size=32)
