# Ten more epochs of a trained ViT-S/8; see dino_vit-s16_continue.py.
_base_ = 'dino_vit-s16_continue.py'

model = dict(backbone=dict(patch_size=8))
train_dataloader = dict(batch_size=16)
