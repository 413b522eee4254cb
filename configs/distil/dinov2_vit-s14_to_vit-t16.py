# Distils DINOv2's ViT-S/14 into a ViT-T/16, on your own images:
#   python tools/train.py configs/distil/dinov2_vit-s14_to_vit-t16.py \
#       --download --cfg-options data=DIR
# The frozen network sees the global crops. Their size is a multiple of both
# patch sizes: 224 px are 16 x 16 and 14 x 14 patches. Only the student sees
# the local crops.
_base_ = ['../_base_/distil.py', '../_base_/datasets/own_images_p14.py']

model = dict(
    backbone=dict(
        type='VisionTransformer',
        arch='deit-tiny',
        patch_size=16,
        img_size=224,
        drop_path_rate=0.))
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        pipeline=dict(views=dict(local=dict(num_views=2, crop=dict(
            size=96))))))
