# BatchNorm and a linear layer on four layers of a frozen ViT-S/8, VOC 2012.
_base_ = [
    '_base_/linear4_vit-s8.py', '_base_/voc12.py', '_base_/linear_40k.py'
]

model = dict(decode_head=dict(num_classes=21))
