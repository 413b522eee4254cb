# DINOv2's ViT-L/14 learns from pictures of your own; see
# dinov2_vit-s14.py.
_base_ = [
    '../_base_/models/dinov2_vit14.py',
    '../_base_/datasets/own_images_p14.py',
    '../_base_/schedules/continue_dinov2.py',
    '../_base_/hooks/continue_dinov2.py',
]

model = dict(backbone=dict(arch='large'))
train_dataloader = dict(batch_size=8)
