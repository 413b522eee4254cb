# Ten more epochs of a trained ViT-S/16, on ImageNet or on your own images:
#   python tools/train.py configs/continue/dino_vit-s16_continue.py \
#       --checkpoint dino_vit-s16_full.pth
# The file is converted from the authors' full checkpoint by
#   python tools/convert_checkpoint.py \
#       dino_deitsmall16_pretrain_full_checkpoint.pth dino_vit-s16_full.pth \
#       --from official --to mmdino
# k-NN is logged before the first iteration and after the last.
_base_ = [
    '../_base_/models/dino_vit.py',
    '../_base_/datasets/imagenet_10-local.py',
    '../_base_/continue_dino.py',
]

model = dict(head=dict(norm_last_layer=False))
