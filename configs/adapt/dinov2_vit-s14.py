# Adapters of low rank on DINOv2's ViT-S/14, trained on pictures of your own:
#   python tools/train.py configs/adapt/dinov2_vit-s14.py \
#       --checkpoint dinov2_vit-s14 --download --cfg-options data=DIR
# Checkpoints hold the adapters and name their base; all tools read them as
# the merged network. Any config with a ViT takes model.lora likewise.
_base_ = '../_base_/continue_dinov2.py'

model = dict(
    lora=dict(type='LoRA', rank=8, alpha=8.),
    # Patches stay near those without the adapters.
    anchor=dict(type='AnchorLoss', cosine_weight=1., gram_weight=1.))

# All layers have adapters of their own, which start from nothing.
optim_wrapper = dict(
    paramwise_cfg=dict(layer_decay_rate=1.0, backbone_lr_mult=1.0))
