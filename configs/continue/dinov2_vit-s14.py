# DINOv2's ViT-S/14 learns from pictures of your own:
#   python tools/train.py configs/continue/dinov2_vit-s14.py \
#       --checkpoint dinov2_vit-s14 --download --cfg-options data=DIR
# --checkpoint takes any file of this network, whoever wrote it, and the names
# that docs/checkpoints.md lists. One of a training of ours gives its heads as
# well.
_base_ = '../_base_/continue_dinov2.py'
