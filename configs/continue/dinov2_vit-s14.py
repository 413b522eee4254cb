# DINOv2's ViT-S/14 learns from pictures of your own:
#   python tools/train.py configs/continue/dinov2_vit-s14.py --download \
#       --cfg-options data=DIR load_from=dinov2_vit-s14
# load_from takes any file of this network, whoever wrote it, and the names
# that docs/checkpoints.md lists. A checkpoint of a training of ours gives its
# heads as well.
_base_ = [
    '../_base_/models/dinov2_vit14.py',
    '../_base_/datasets/own_images_p14.py',
    '../_base_/schedules/continue_dinov2.py',
    '../_base_/hooks/continue_dinov2.py',
]
