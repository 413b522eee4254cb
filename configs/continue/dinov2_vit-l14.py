# DINOv2's ViT-L/14 on your own images; see dinov2_vit-s14.py.
_base_ = '../_base_/continue_dinov2.py'

model = dict(backbone=dict(arch='large'))
train_dataloader = dict(batch_size=8)
