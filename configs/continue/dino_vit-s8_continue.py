# Ten more epochs of a trained ViT-S/8; see dino_vit-s16_continue.py.
_base_ = [
    '../_base_/models/dino_vit.py',
    '../_base_/datasets/imagenet_10-local.py',
    '../_base_/continue_dino.py',
]

model = dict(backbone=dict(patch_size=8), head=dict(norm_last_layer=False))
train_dataloader = dict(batch_size=16)
