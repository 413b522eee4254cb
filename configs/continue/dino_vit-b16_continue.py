# Ten more epochs of a trained ViT-B/16; see dino_vit-s16_continue.py.
_base_ = 'dino_vit-s16_continue.py'

model = dict(backbone=dict(arch='deit-base'), head=dict(norm_last_layer=True))
train_dataloader = dict(batch_size=32)
