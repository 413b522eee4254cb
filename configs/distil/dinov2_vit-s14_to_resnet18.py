# Distils DINOv2's ViT-S/14 into a ResNet-18; see dinov2_vit-s14_to_vit-t16.py.
# The student's patches are the 7 x 7 positions of its last map. Each is
# compared with the mean of the frozen network's patches that it covers.
_base_ = ['../_base_/distil.py', '../_base_/datasets/own_images_p14.py']

model = dict(
    backbone=dict(type='ResNet', depth=18, norm_cfg=dict(type='SyncBN')),
    neck=dict(type='mmpretrain.GlobalAveragePooling'))
train_dataloader = dict(
    batch_size=64,
    dataset=dict(
        pipeline=dict(views=dict(local=dict(num_views=2, crop=dict(
            size=96))))))
