# DINOv2's ViT-S/14 with registers on your own images; see dinov2_vit-s14.py.
_base_ = '../_base_/continue_dinov2.py'

model = dict(backbone=dict(num_registers=4, pos_embed_mode='antialias'))
