# DINOv2's ViT-L/14 with registers on your own images; see dinov2_vit-s14.py.
_base_ = '../_base_/continue_dinov2.py'

model = dict(
    backbone=dict(arch='large', num_registers=4, pos_embed_mode='antialias'))
train_dataloader = dict(batch_size=8)
