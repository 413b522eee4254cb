# LoRA adapters on DINOv2's ViT-S/14, trained on your own images:
#   python tools/train.py configs/adapt/dinov2_vit-s14.py \
#       --checkpoint dinov2_vit-s14 --download --cfg-options data=DIR
# Checkpoints hold the adapters and the name of their base; all tools read them
# as the merged network. model.lora works in any config with a ViT.
_base_ = '../_base_/continue_dinov2.py'

model = dict(
    lora=dict(type='LoRA', rank=8, alpha=8.),
    # Keeps patch tokens near those of the backbone without adapters.
    anchor=dict(type='AnchorLoss', cosine_weight=1., gram_weight=1.))

# The adapters of all layers are new, so that all have the same learning rate.
optim_wrapper = dict(
    paramwise_cfg=dict(layer_decay_rate=1.0, backbone_lr_mult=1.0))
