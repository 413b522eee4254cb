# DINOv2's ViT-S/14, trained further on your own images:
#   python tools/train.py configs/continue/dinov2_vit-s14.py \
#       --checkpoint dinov2_vit-s14 --download --cfg-options data=DIR
# --checkpoint accepts a file of this network in any known format, or a name as
# in docs/checkpoints.md. Heads are loaded as well if it is a checkpoint of a
# training with mmdino.
_base_ = '../_base_/continue_dinov2.py'
