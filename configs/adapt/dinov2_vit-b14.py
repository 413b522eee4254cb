# LoRA adapters on DINOv2's ViT-B/14; see dinov2_vit-s14.py.
_base_ = '../_base_/continue_dinov2.py'

model = dict(
    backbone=dict(arch='deit-base'),
    lora=dict(type='LoRA', rank=8, alpha=8.),
    # Keeps patch tokens near those of the backbone without adapters.
    anchor=dict(type='AnchorLoss', cosine_weight=1., gram_weight=1.))
train_dataloader = dict(batch_size=16)

# The adapters of all layers are new, so that all have the same learning rate.
optim_wrapper = dict(
    paramwise_cfg=dict(layer_decay_rate=1.0, backbone_lr_mult=1.0))
