# BatchNorm and a linear layer on four layers of a frozen ViT-B/16, Cityscapes.
_base_ = [
    '_base_/linear4_vit-b16.py', '_base_/cityscapes.py', '_base_/linear_40k.py'
]

model = dict(
    data_preprocessor=dict(size=(512, 1024)),
    test_cfg=dict(crop_size=(512, 1024), stride=(341, 683)),
    decode_head=dict(num_classes=19))
